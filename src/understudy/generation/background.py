"""What tools are for, in general: a message that wants one of those offered is nearer to it than to
these. The gate of `relevance.py` measures how much nearer.
"""

BACKGROUND = """
get the current weather of a city
weather forecast for the coming days
set an alarm clock
start or stop a timer
add an event to the calendar
list the events of a calendar
create a reminder
add an item to a shopping list
send an email
read new emails
send a text message
make a phone call
look up a contact
play a song
play a radio station
add a song to a playlist
turn a light on or off
dim the lights
set the temperature of the heating
lock or unlock a door
start the vacuum cleaner
calculate the area of a triangle or circle
calculate the volume of a solid
solve an equation
greatest common divisor of two numbers
factorial of a number
prime factors of a number
mean and standard deviation of a list of numbers
fit a linear regression
probability of an outcome
derivative of a function
integral of a function over an interval
sort a list
convert an amount of money to another currency
convert units of measure
compound interest of an investment
monthly payment of a mortgage
price of a stock
revenue and profit of a company
compute the income tax
body mass index from weight and height
calories and nutrients of a food
find a recipe with ingredients
find restaurants near a place
reserve a table at a restaurant
order food for delivery
book a hotel room
search flights between two airports
train tickets between two cities
directions and route between two places
distance between two cities
traffic conditions on a road
rent a car
call a taxi
translate a text into another language
definition of a word
find synonyms
check spelling and grammar
summarize a text
sentiment of a text
latest news about a topic
movie showtimes in a cinema
details and cast of a movie
find a book by its author
score of a match
standings of a league
statistics of a player
buy tickets for a concert
opening hours of a museum
date of a historical event
population of a country
capital of a country
look up a court case
search for a law or a contract clause
register a patent or trademark
analyze a DNA sequence
structure of a protein
effects and dosage of a drug
diagnose symptoms of a disease
book an appointment with a doctor
medical record of a patient
velocity and acceleration of a moving body
force and energy of a body
electric field and charge
resistance of a circuit
gravity between two masses
molecular weight of a compound
balance a chemical reaction
acidity of a solution
distance of a star or planet
carbon footprint of an activity
identify a plant or animal species
growth of a population of animals
yield of a crop
irrigation of a field
amount of paint or tiles for a wall
choose clothes for an occasion
skin care and makeup products
plan a workout
sleep and health tracking
care for a pet
repair something at home
find houses and apartments
search for jobs
write a resume
enroll in a course
grades of a student
query a database
create, read or delete a file
run a piece of code
commit to a repository
start a container or virtual machine
status of a server
send a request to a web service
generate a password
create a QR code
generate an image from a description
resize an image
edit a video
record audio
coordinates of an address
satellite images
control a robot or drone
read a sensor
level of a battery
speed of a network
look up an IP address
data plan of a phone
track a parcel
status of an order
return a product
search for products
read reviews
compare prices
coupon and discount codes
insurance quote
apply for a loan
balance of a bank account
transfer money
create an invoice
plan a budget
price of a cryptocurrency
donate to a charity
results of an election
apply for a visa or passport
report a crime to the police
call an ambulance or the fire department
military equipment
religious texts and prayers
philosophical ideas
personality test
paintings of an artist
chords and notes of a melody
learn an instrument
theater and dance
camera settings of a photograph
move in a chess game
draw cards from a deck
roll dice
random number
lottery numbers
horoscope of a zodiac sign
tell a joke
quote of the day
current time in a time zone
days between two dates
public holidays
sunrise and sunset
tides and waves
phase of the moon
earthquakes
air quality
water quality
energy use of a building
recycling and waste
machine maintenance and inspection
production in a factory
employees and salaries
project tasks and deadlines
customer support tickets
meeting minutes
survey and feedback
social media posts
followers and engagement
search the web
knowledge about a person
family tree
""".strip().split("\n")
