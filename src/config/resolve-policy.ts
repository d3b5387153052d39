import { X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import { checkCedar } from "../policy/cedar-engine.ts";
import type { PointOptions, PolicyOptions } from "../policy/options.ts";
import type { Sections } from "./draft.ts";
import type { PathFault } from "./faults.ts";
import type { Files } from "./resolve.ts";

type Report = (fault: PathFault) => void;

/** Every domain served with its way; of a decision point what it takes to ask it. */
export function resolvePolicy(
  policy: Sections["policy"],
  domains: readonly string[],
  files: Files,
  report: Report,
): PolicyOptions {
  const { way, presence, contact } = policy;
  const own = new Map(Object.entries(policy.domains).map(([name, each]) => [name.toLowerCase(), each]));
  return {
    domains: Object.fromEntries(
      domains.map((domain) => {
        const other = own.get(domain);
        return [
          domain,
          {
            way: other?.way ?? way,
            presence: other?.presence ?? presence,
            contact: other?.contact ?? contact,
          },
        ];
      }),
    ),
    point: pointOf(policy, files, report),
  };
}

function pointOf({ pdp, cedar }: Sections["policy"], files: Files, report: Report): PointOptions | null {
  if (cedar !== undefined) {
    const text = readFile("cedar", cedar, files, report);
    return text === null ? null : cedarOf(cedar, text, report);
  }
  if (pdp === undefined) return null;
  const { timeout, cache, stale, token, ca, ...rest } = pdp;
  const pem = ca === undefined ? null : ca.includes("-----BEGIN") ? ca : readFile("ca", ca, files, report);
  if (pem !== null && !isCertificate(pem)) {
    const message = "This holds no certificate in PEM form.";
    const fix = "Name the file that begins with -----BEGIN CERTIFICATE-----.";
    report({ severity: "error", path: ["policy", "pdp", "ca"], at: "value", message, fix });
  }
  return {
    kind: "authzen",
    ...rest,
    token: token ?? null,
    ca: pem,
    timeoutMs: timeout,
    cacheMs: cache,
    staleMs: stale,
  };
}

function cedarOf(file: string, text: string, report: Report): PointOptions {
  for (const { line, column, message } of checkCedar(text)) {
    report({
      severity: "error",
      path: ["policy", "cedar"],
      at: "value",
      message: `${file}:${line}:${column}: ${message}`,
      fix: "Correct the policies there.",
    });
  }
  return { kind: "cedar", file, text };
}

function readFile(key: "cedar" | "ca", name: string, files: Files, report: Report): string | null {
  const file = resolve(files.base, name);
  try {
    return files.read(file);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "unknown error";
    const path = key === "cedar" ? ["policy", "cedar"] : ["policy", "pdp", "ca"];
    const fix = "Correct the path, or make the file readable.";
    report({ severity: "error", path, at: "value", message: `${file} cannot be read (${code}).`, fix });
    return null;
  }
}

function isCertificate(text: string): boolean {
  try {
    new X509Certificate(text);
    return true;
  } catch {
    return false;
  }
}
