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

type Policy = NonNullable<Draft["sections"]["policy"]>;

function wayOf(policy: Policy, domain: string): Policy["way"] {
  const own = Object.entries(policy.domains).find(([name]) => name.toLowerCase() === domain)?.[1];
  return own?.way ?? policy.way;
}
