/** `npm run bench NAME [arguments]`: runs bench/NAME.ts. */
const BENCHES: Readonly<Record<string, () => Promise<{ run(args: string[]): Promise<void> }>>> = {
  floor: () => import("./floor.ts"),
  parse: () => import("./parse.ts"),
  register: () => import("./register.ts"),
  relay: () => import("./relay.ts"),
  transaction: () => import("./transaction.ts"),
  transport: () => import("./transport.ts"),
};

const [name = "", ...args] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench === undefined) {
  console.error(`Say which benchmark to run: npm run bench -- ${Object.keys(BENCHES).join(" | ")}`);
  process.exitCode = 2;
} else {
  await (await bench()).run(args);
}
