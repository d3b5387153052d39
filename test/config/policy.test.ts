import { describe, expect, it } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { diffConfig } from "../../src/config/diff.ts";
import { type LoadOptions, loadConfig } from "../../src/config/load.ts";
import { CERT } from "./pem.ts";

const SERVERS = `servers:\n  east: { uri: "sip:127.0.0.11:5060" }\n`;
const DIGEST = "clients: { authenticate: digest }\n";

const load = (policy: string, { domains = "domain: a.com", ...options }: LoadOptions & { domains?: string } = {}) =>
  loadConfig(`${domains}\n${SERVERS}${DIGEST}${policy}\n`, { env: {}, ...options });

function config(policy: string, options?: LoadOptions & { domains?: string }): Config {
  const loaded = load(policy, options);
  if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
  return loaded.config;
}

/** What is told, errors and warnings, by path. */
function told(policy: string, options?: LoadOptions): string[] {
  const loaded = load(policy, options);
  const faults = loaded.config === undefined ? loaded.faults : loaded.warnings;
  return faults
    .filter(({ path }) => path.startsWith("policy") || path.startsWith("clients"))
    .map(({ severity, path, line, message }) => `${severity} ${path} ${line}: ${message}`);
}

describe("policy", () => {
  it("is each server's own, unless told otherwise", () => {
    expect(config("").policy).toEqual({
      domains: { "a.com": { way: "distributed", presence: "confirm", contact: "allow" } },
      point: null,
    });
  });

  it("is by domain: what one does not say is as for all", () => {
    const text =
      "policy: { way: root-only, presence: polite-block, domains: { B.com: { way: central, contact: block } } }";
    expect(config(text, { domains: "domains: [a.com, b.com]" }).policy.domains).toEqual({
      "a.com": { way: "root-only", presence: "polite-block", contact: "allow" },
      "b.com": { way: "central", presence: "polite-block", contact: "block" },
    });
  });

  it("a decision point, with all that can be said of it", () => {
    const text = `policy:
  way: pdp
  pdp:
    url: "https://PDP.example.com/tenant/"
    token: abc
    ca: ca.pem
    timeout: 500ms
    cache: 1m
    entries: 10
    stale: 10m
    unavailable: polite-block
    batch: 7
    connections: 2`;
    expect(config(text, { readFile: () => CERT }).policy.point).toEqual({
      kind: "authzen",
      url: "https://pdp.example.com/tenant",
      token: "abc",
      ca: CERT,
      timeoutMs: 500,
      cacheMs: 60_000,
      entries: 10,
      staleMs: 600_000,
      unavailable: "polite-block",
      batch: 7,
      connections: 2,
    });
    expect(config("policy: { way: pdp, pdp: { url: http://127.0.0.1:8181 } }").policy.point).toMatchObject({
      token: null,
      ca: null,
      timeoutMs: 2000,
      cacheMs: 300_000,
      staleMs: 0,
      unavailable: "block",
    });
  });

  it("policies in Cedar, read from their file", () => {
    const text = "permit (principal, action, resource);\n";
    const files: string[] = [];
    const readFile = (path: string): string => {
      files.push(path);
      return text;
    };
    const { point } = config("policy: { way: pdp, cedar: my.cedar }", {
      file: "/etc/x/codomain.yaml",
      readFile,
    }).policy;
    expect(point).toEqual({ kind: "cedar", file: "my.cedar", text });
    expect(files).toEqual(["/etc/x/my.cedar"]);
  });

  it.each([
    ["policy: { way: pdp }", ["error policy.pdp 5: Nobody is named who decides."]],
    [
      "policy: { domains: { c.com: { way: pdp } } }",
      ['error policy.domains["c.com"] 5: "c.com" is no domain served here.'],
    ],
    ["policy: { way: root }", ['error policy.way 5: "root" is not known here.']],
    ["policy: { way: root-only, presence: hide }", ['error policy.presence 5: "hide" is not known here.']],
    [
      "policy: { way: pdp, pdp: { url: pdp.example.com } }",
      ['error policy.pdp.url 5: "pdp.example.com" is no HTTP address.'],
    ],
    [
      "policy: { way: pdp, pdp: { url: https://u:s3cret@h } }",
      ["error policy.pdp.url 5: This address holds a password."],
    ],
    ["policy: { way: pdp, pdp: { token: x } }", ['error policy.pdp.url 5: "url" is missing.']],
    [
      "policy: { way: root-only, pdp: { url: https://h } }",
      ["warning policy.pdp 5: Nobody is asked here: no domain has the way pdp."],
    ],
    [
      "policy: { way: pdp, pdp: { url: http://192.0.2.1 } }",
      ["warning policy.pdp.url 5: Questions, answers and the token go over the network in the clear."],
    ],
    [
      "policy: { way: pdp, pdp: { url: https://h, ca: none.pem } }",
      [expect.stringMatching(/^error policy.pdp.ca 5: .*none.pem cannot be read/)],
    ],
    [
      "policy: { way: pdp, cedar: none.cedar }",
      [expect.stringMatching(/^error policy.cedar 5: .*none.cedar cannot be read \(ENOENT\)/)],
    ],
  ])("%s", (text, expected) => {
    expect(told(text)).toEqual(expected);
  });

  it("both a decision point and policies are one too many", () => {
    const readFile = (): string => "";
    expect(told("policy: { way: pdp, pdp: { url: https://h }, cedar: x }", { readFile })).toEqual([
      'error policy.cedar 5: "pdp" and "cedar" are both given.',
    ]);
  });

  it("faults in a policy file are told with its lines, all of them", () => {
    const readFile = (): string =>
      'permit (principal, action, resource) when { context.evnt == 1 };\n@handling("x")\npermit (principal, action, resource);\n';
    expect(told("policy: { way: pdp, cedar: my.cedar }", { readFile })).toEqual([
      expect.stringMatching(/^error policy.cedar 5: my.cedar:1:45: .*evnt/),
      expect.stringMatching(/^error policy.cedar 5: my.cedar:2:1: @handling is one of/),
    ]);
  });

  it("where clients prove nothing, what is decided by name is decided for few: it is said", () => {
    const loaded = loadConfig(`domain: a.com\n${SERVERS}policy: { way: root-only }\n`, { env: {} });
    expect(loaded.config === undefined ? [] : loaded.warnings.map(({ path }) => path)).toContain("policy.way");
  });

  it("a reload takes all of it, and tells no secret", () => {
    const from = config("policy: { way: pdp, pdp: { url: https://h, token: s3cret1 } }");
    const to = config("policy: { way: pdp, presence: allow, pdp: { url: https://h, token: s3cret2 } }");
    const changes = diffConfig(from, to);
    expect(changes.map(({ path, restart }) => [path, restart])).toEqual([
      ["policy.domains", false],
      ["policy.point", false],
    ]);
    expect(JSON.stringify(changes)).not.toContain("s3cret");
  });
});

describe("rules pushed to servers", () => {
  const server = (xcap: string): string => `servers: { east: { uri: "sip:127.0.0.11:5060", xcap: ${xcap} } }`;
  const open = (xcap: string, way: string) =>
    loadConfig(`domain: a.com\n${server(xcap)}\n${DIGEST}policy: { way: ${way} }\n`, { env: {} });
  const faults = (xcap: string, way: string) => {
    const loaded = open(xcap, way);
    const all = loaded.config === undefined ? loaded.faults : loaded.warnings;
    return all.map(({ severity, path }) => `${severity} ${path}`);
  };

  it("a server says where, as whom, and what its rules can say; people by their names, if it says nothing", () => {
    const loaded = open(
      '{ url: "https://X.example.com/root/", user: portal, password: secret, expresses: [identity] }',
      "central",
    );
    expect(loaded.config?.servers[0]?.xcap).toEqual({
      url: "https://x.example.com/root",
      user: "portal",
      password: "secret",
      expresses: ["identity"],
    });
    const plain = open('{ url: "http://127.0.0.1:8080" }', "central");
    expect(plain.config?.servers[0]?.xcap).toEqual({
      url: "http://127.0.0.1:8080",
      user: null,
      password: null,
      expresses: ["identity"],
    });
    expect(config("").servers[0]?.xcap).toBeNull();
  });

  it.each([
    ['{ url: "https://x.example.com" }', "central", []],
    ['{ url: "https://x.example.com" }', "root-only", ["warning servers.east.xcap"]],
    ['{ url: "http://x.example.com" }', "central", ["warning servers.east.xcap.url"]],
    ['{ url: "https://x.example.com", user: portal }', "central", ["error servers.east.xcap"]],
    ['{ url: "sip:x.example.com" }', "central", ["error servers.east.xcap.url", "warning policy.way"]],
    [
      '{ url: "https://x.example.com", expresses: [moon] }',
      "central",
      ["error servers.east.xcap.expresses[0]", "warning policy.way"],
    ],
  ])("%s with the way %s: %j", (xcap, way, told) => {
    expect(faults(xcap, way)).toEqual(told);
  });

  it("the way central without a server that takes rules is warned of", () => {
    expect(told("policy: { way: central }")).toEqual([
      "warning policy.way 5: No server takes users' rules: they are pushed to nobody.",
    ]);
  });
});
