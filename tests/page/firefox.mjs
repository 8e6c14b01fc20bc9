// The page in a stock Firefox, driven over WebDriver BiDi: node firefox.mjs URL FIREFOX FOLDER MODULES JSON -> one JSON object of findings.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, firefox, folder, modules, told] = process.argv.slice(2);
const { views, answer } = JSON.parse(told); // the page's views, and an answer in Markdown as it is streamed
const require = createRequire(join(modules, "index.js"));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const found = { faults: [], steps: {} };

const browser = await puppeteer.launch({ browser: "firefox", executablePath: firefox, headless: true });
const page = await browser.newPage();
await page.setViewport({ width: 1200, height: 800 });
let isAnswered = false; // whether the next answer is the told one
page.on("pageerror", (error) => found.faults.push(`error: ${error.message}`));
page.on("console", (line) => {
  if (/Content.Security.Policy/i.test(line.text())) found.faults.push(line.text());
});
page.on("request", (asked) => {
  if (!asked.url().startsWith(url) && !asked.url().startsWith("blob:")) found.faults.push(`asked ${asked.url()}`);
});

const until = async (script, seconds = 60) => {
  const end = Date.now() + 1000 * seconds;
  while (!(await page.evaluate(script))) {
    if (Date.now() > end) throw new Error(`never true: ${script}`);
    await new Promise((go) => setTimeout(go, 50));
  }
};
const say = async (text) => {
  await page.type("#say", text);
  await page.keyboard.press("Enter");
};
const ended = () => until("!document.querySelector('#send').hidden && getComputedStyle(document.querySelector('#send')).display !== 'none'");
const step = async (name, work) => {
  try {
    found.steps[name] = await work();
  } catch (error) {
    found.steps[name] = `failed: ${error.message}`;
  }
};
const text = (selector) => page.$eval(selector, (element) => element.textContent);
const checked = async () => {
  await page.evaluate(axe);
  const faults = await page.evaluate(async () => (await window.axe.run()).violations);
  return faults.map((rule) => [rule.id, rule.nodes.map((node) => node.html.slice(0, 160))]);
};

await page.goto(url);
await until("document.querySelector('#model').options.length > 0");
await step("an answer is streamed", async () => {
  await page.evaluate("document.querySelector('#max-tokens').value = 40");
  await say("Say hello.");
  await until("document.querySelector('.assistant .text')?.textContent.length > 0");
  await ended();
  return { length: (await text(".assistant .text")).length, rate: await text("#rate") };
});
await step("markdown is shown", async () => {
  await page.setRequestInterception(true);
  page.on("request", (asked) =>
    isAnswered && asked.url().endsWith("/v1/chat/completions")
      ? asked.respond({ status: 200, contentType: "text/event-stream", body: answer })
      : asked.continue(),
  );
  isAnswered = true;
  await say("Show it.");
  await until("document.querySelectorAll('.assistant .text').length === 2");
  await ended();
  await until("!!document.querySelector('.hljs-keyword') && !!document.querySelector('.assistant math, .assistant .katex')");
  isAnswered = false;
  return await page.evaluate(() => ({
    cells: [...document.querySelectorAll(".assistant td")].map((cell) => cell.textContent),
    bold: document.querySelector(".assistant .text strong")?.textContent,
    math: !!document.querySelector(".assistant math, .assistant .katex"),
  }));
});
await step("a reload keeps the conversation", async () => {
  await page.reload();
  await until("document.querySelectorAll('.assistant .text').length === 2");
  return await page.evaluate("[...document.querySelectorAll('.user .text')].map((e) => e.textContent)");
});
await step("a phone needs no sideways scrolling", async () => {
  await page.setViewport({ width: 375, height: 800 });
  const wide = [];
  for (const view of views) {
    await page.evaluate((name) => { location.hash = name; }, view);
    await new Promise((go) => setTimeout(go, 300));
    if (await page.evaluate("document.documentElement.scrollWidth > innerWidth")) wide.push(view);
  }
  await page.setViewport({ width: 1200, height: 800 });
  return wide;
});
await step("a quote is marked in its source", async () => {
  await page.evaluate("location.hash = 'documents'");
  writeFileSync(join(folder, "island.md"), "# The island\n\nThe lighthouse was built in 1812 by a fisherman. It has 99 steps.\n");
  const input = await page.$("#document-file");
  await input.uploadFile(join(folder, "island.md"));
  await page.waitForSelector("#names button");
  await page.type("#question", "When was the lighthouse built?");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#answer .quote");
  await page.click("#answer .quote");
  await page.waitForSelector("#source mark.current");
  return await text("#source mark.current");
});
await step("axe", async () => {
  const faults = {};
  for (const view of views) {
    await page.evaluate((name) => { location.hash = name; }, view);
    await new Promise((go) => setTimeout(go, 300));
    faults[view] = await checked();
  }
  return faults;
});
found.version = await browser.version();
await browser.close();
console.log(JSON.stringify(found));
