import { expect, onTestFinished } from "vitest";

/** What can say what it still holds open: a runtime, a whole simulation, a layer with tables of its own. */
export interface Leaky {
  leaks(): string[];
}

/** Real sockets tell that they closed a few turns of the event loop later, on a busy machine many: so long we wait for them at most, in milliseconds. */
const PATIENCE = 10_000;

/**
 * Fails the test if a timer, socket, listener or connection is left when the test ends. Call it before anything is opened: clean-up
 * registered later with `onTestFinished` runs earlier.
 * @returns what it was given: `const runtime = leakChecked(createRealRuntime())`.
 */
export function leakChecked<T extends Leaky>(leaky: T): T {
  onTestFinished(() => expectNoLeaks(leaky));
  return leaky;
}

export async function expectNoLeaks(leaky: Leaky, patience = PATIENCE): Promise<void> {
  const end = performance.now() + patience;
  while (leaky.leaks().length > 0 && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(leaky.leaks(), "still open when the test ended").toEqual([]);
}
