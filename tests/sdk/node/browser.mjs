// Lets pages in headless Chromium talk to two gateways, one open to every origin and one to none of these pages'.
// Arguments: the base URLs, the key, the browser.

import assert from "node:assert/strict";
import { createServer } from "node:http";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const [open, closed, key, executablePath] = process.argv.slice(2);
const entry = new URL("page.mjs", import.meta.url).pathname;
const bundle = await build({ entryPoints: [entry], bundle: true, platform: "browser", write: false, logLevel: "error" });
const script = bundle.outputFiles[0].text;
const html = '<!doctype html><meta charset="utf-8"><title>page</title><script src="page.js"></script>';

// Another port is another origin.
const server = createServer((request, response) => {
  const [type, body] = request.url === "/page.js" ? ["text/javascript", script] : ["text/html", html];
  response.writeHead(200, { "content-type": type }).end(body);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
args.push("--disable-component-update", "--disable-sync");
const browser = await chromium.launch({ executablePath, args });
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const seen = await page.evaluate(([url, secret]) => window.ask(url, secret), [open, key]);
  for (const said of [seen.whole, seen.streamed, seen.responded, ...seen.spoken]) {
    assert.equal(said, "x x x ");
  }
  assert.ok(seen.models > 0);
  for (const header of ["x-request-id", "openai-processing-ms", "x-codex-generation", "x-proxy-output-mode"]) {
    assert.ok(seen.headers[header], `the page cannot read ${header}`);
  }
  assert.equal(seen.refused.status, 401);
  assert.equal(seen.refused.code, "invalid_api_key");
  assert.match(seen.refused.requestID, /^req_/);

  const knocked = await page.evaluate(([url, secret]) => window.knock(url, secret), [closed, key]);
  assert.equal(knocked, "kept out");

  // An app whose pages are no web site's: their origin is `null`.
  const sandboxed = await browser.newPage();
  await sandboxed.setContent('<iframe sandbox="allow-scripts" srcdoc="a page"></iframe>');
  const frame = sandboxed.frames().at(-1);
  await frame.addScriptTag({ content: script });
  assert.equal(await frame.evaluate(() => window.origin), "null");
  const inside = await frame.evaluate(([url, secret]) => window.ask(url, secret), [open, key]);
  assert.equal(inside.streamed, "x x x ");
} finally {
  await browser.close();
  server.close();
}
console.log("all well");
