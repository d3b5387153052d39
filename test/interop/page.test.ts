import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningProxy, startProxy } from "../support/proxy.ts";

/** The admin page in a real browser: what Chromium's DOM holds once the page has asked the API. */

const BROWSER = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let proxy: RunningProxy;
const profile = mkdtempSync(join(tmpdir(), "codomain-browser-"));

beforeAll(async () => {
  proxy = await startProxy({
    host: "127.0.0.41",
    servers: { east: "sip:127.0.0.42:5060", west: "sip:127.0.0.43:5060" },
  });
  await proxy.api("POST", "/api/v1/users/alice@example.com/bind", { server: "west" });
});

afterAll(async () => {
  await proxy?.stop();
  rmSync(profile, { recursive: true, force: true });
});

describe("the admin page", () => {
  it("shows servers, their state and the users, in a browser, under its own content policy", async () => {
    const dump = [
      ...BROWSER,
      `--user-data-dir=${profile}`,
      "--virtual-time-budget=5000",
      "--dump-dom",
      `${proxy.admin}/`,
    ];
    const { stdout } = await promisify(execFile)("chromium", dump, { timeout: 60_000, maxBuffer: 1 << 24 });
    const text = stdout.replaceAll(/<[^>]*>/g, " ");
    expect(text).toMatch(/example\.com, up \d+ s/);
    expect(text).toMatch(/east\s+(?:up|down)\s+sip:127\.0\.0\.42:5060/);
    expect(text).toMatch(/alice@example\.com\s+by rule\s+west\s+admin/);
  });
});
