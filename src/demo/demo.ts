import { type DomainParts, startDomain } from "./domain.ts";
import { movingScenes } from "./moving-scenes.ts";
import { SCENES } from "./scenes.ts";
import { unionScenes } from "./union-scenes.ts";

/** Plays every scene and prints its ladder and checks. Gives the number of checks that did not hold. */
export async function playDemo(parts: DomainParts, print: (text: string) => void): Promise<number> {
  const domain = await startDomain(parts);
  let failed = 0;
  let checked = 0;
  try {
    print("One domain, three servers, and the proxy between them; mappings in Postgres, nothing provisioned.");
    for (const [i, scene] of [...SCENES, ...movingScenes(), ...unionScenes()].entries()) {
      print(`\n${i + 1}. ${scene.title}\n`);
      const checks = await scene.play(domain);
      print(
        domain
          .ladder()
          .map((line) => `   ${line}`)
          .join("\n"),
      );
      print("");
      for (const check of checks) {
        checked++;
        if (!check.holds) failed++;
        print(check.holds ? `   ok      ${check.what}` : `   FAILED  ${check.what}: it was ${check.found}`);
      }
    }
  } finally {
    await domain.stop();
  }
  print(`\n${checked - failed} of ${checked} checks hold.`);
  return failed;
}
