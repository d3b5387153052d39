import { tortures } from "./expectation.ts";
import { hasShared } from "./shared.ts";
import { judge, type Verdict } from "./verdict.ts";

/** `npx tsx test/torture/table.ts`: RFC 4475 message by message, asked against got. Exits 1 if any is not as asked. */
const ASKED = 52;

export function row({ name, section, asked, parser, outcome, wrong }: Verdict): string {
  const cells = [name.padEnd(11), section.padEnd(9), asked.padEnd(ASKED), parser.padEnd(9), outcome.padEnd(8)];
  return `${cells.join(" ")} ${wrong.length === 0 ? "ok" : `WRONG: ${wrong.join("; ")}`}`;
}

if (!hasShared("data/rfc4475/expect.json")) {
  console.error(
    "The messages are not there: put the shared data beside the checkout, or name its folder in CODOMAIN_SHARED.",
  );
  process.exit(1);
}
const verdicts = tortures().map((torture) => judge(torture));
console.log(
  `${"message".padEnd(11)} ${"section".padEnd(9)} ${"asked (parser; proxy)".padEnd(ASKED)} ${"parser".padEnd(9)} got`,
);
for (const verdict of verdicts) console.log(row(verdict));
const right = verdicts.filter((verdict) => verdict.wrong.length === 0).length;
console.log(`${right} of ${verdicts.length} as asked (49 messages, and baddn+: the one with its closing line mended)`);
process.exitCode = right === verdicts.length ? 0 : 1;
