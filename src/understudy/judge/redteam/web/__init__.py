"""The red team's workbench as a page on this machine: `understudy safety redteam STORE` (extra
`serve`).

app.py       the application: routes, guard, errors
bodies.py    what requests say
routes.py    the store and the live model over HTTP, as one person may see it
speaking.py  the model's answers from their thread to the page, and stopping them
guard.py     only this machine and only this page may ask
run.py       under uvicorn
page/        HTML, stylesheet and modules of JavaScript; what it shares with the server's page it
takes from there

It stands a floor above `serve` and `safety`, because it joins them: policy from one, HTTP from the
other.
"""
