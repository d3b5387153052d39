import { isLoopback } from "../sip/transport/address.ts";
import type { Checks } from "./checks.ts";
import type { Draft } from "./draft.ts";
import { suggest } from "./faults.ts";

/** The parts of `policy` against each other and against the rest. */
export function checkPolicy(draft: Draft, domains: readonly string[], checks: Checks): void {
  const policy = draft.sections.policy;
  if (policy === undefined) return;
  for (const domain of Object.keys(policy.domains)) {
    if (!domains.includes(domain.toLowerCase()))
      checks.error(
        ["policy", "domains", domain],
        `"${domain}" is no domain served here.`,
        suggest(domain, domains),
        "key",
      );
  }
  const ways = domains.map((domain) => wayOf(policy, domain));
  const asked = ways.includes("pdp");
  const { pdp, cedar } = policy;
  if (pdp !== undefined && cedar !== undefined)
    checks.error(["policy", "cedar"], '"pdp" and "cedar" are both given.', "Keep the one that is to decide.", "key");
  if (asked && pdp === undefined && cedar === undefined)
    checks.error(
      ["policy", "pdp"],
      "Nobody is named who decides.",
      'Add "pdp: { url: … }", or "cedar: FILE" with policies.',
    );
  for (const key of ["pdp", "cedar"] as const) {
    if (!asked && policy[key] !== undefined)
      checks.warn(
        ["policy", key],
        "Nobody is asked here: no domain has the way pdp.",
        "Write way: pdp, or remove it.",
        "key",
      );
  }
  if (pdp?.url.startsWith("http:") && !isLoopback(new URL(pdp.url).hostname.replace(/^\[|\]$/g, "")))
    checks.warn(
      ["policy", "pdp", "url"],
      "Questions, answers and the token go over the network in the clear.",
      "Use https, or a decision point on this machine.",
    );
  if (ways.some((way) => way !== "distributed") && draft.sections.clients?.authenticate === "none")
    checks.warn(
      draft.written.has("clients") ? ["clients", "authenticate"] : ["policy", "way"],
      "Clients do not prove who they are: what is decided for somebody by his name is decided only where his server vouches for him.",
      "Write clients: { authenticate: digest } where clients come here themselves.",
    );
}

/** Servers that take their users' rules, and domains that have them pushed. */
export function checkProvisioning(draft: Draft, domains: readonly string[], checks: Checks): void {
  const { policy } = draft.sections;
  const isCentral = policy !== undefined && domains.some((domain) => wayOf(policy, domain) === "central");
  const servers = [...draft.servers.values()].filter(({ value }) => value.xcap !== undefined);
  if (isCentral && servers.length === 0)
    checks.warn(
      ["policy", "way"],
      "No server takes users' rules: they are pushed to nobody.",
      'Add "xcap: { url: … }" to those servers that keep their own, or write way: root-only.',
    );
  for (const { path, value } of servers) {
    const { url, user, password } = value.xcap!;
    if (!isCentral)
      checks.warn(
        [...path, "xcap"],
        "Nothing is pushed to it: no domain has the way central.",
        "Write policy: { way: central }, or remove it.",
        "key",
      );
    if ((user === undefined) !== (password === undefined))
      checks.error(
        [...path, "xcap"],
        "A user and a password belong together.",
        user === undefined ? 'Add "user".' : 'Add "password".',
        "key",
      );
    if (url.startsWith("http:") && !isLoopback(new URL(url).hostname.replace(/^\[|\]$/g, "")))
      checks.warn([...path, "xcap", "url"], "Users' rules go over the network in the clear.", "Use https.");
  }
}

type Policy = NonNullable<Draft["sections"]["policy"]>;

function wayOf(policy: Policy, domain: string): Policy["way"] {
  const own = Object.entries(policy.domains).find(([name]) => name.toLowerCase() === domain)?.[1];
  return own?.way ?? policy.way;
}
