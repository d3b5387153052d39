import { registerCheck } from "./cli/check.ts";
import { registerDemo } from "./cli/demo.ts";
import { registerExplain } from "./cli/explain.ts";
import { createProgram, usageCode } from "./cli/help.ts";
import { registerMessages } from "./cli/messages.ts";
import { registerMigrate } from "./cli/migrate.ts";
import { type Io, processIo, reportFailure } from "./cli/output.ts";
import { registerRouting } from "./cli/routing.ts";
import { registerRules } from "./cli/rules.ts";
import { registerServers } from "./cli/servers.ts";
import { registerStart } from "./cli/start.ts";
import { registerSubscriptions } from "./cli/subscriptions.ts";
import { registerUsers } from "./cli/users.ts";

/** Runs one command line (without node and script); gives the exit code: 0 ok, 1 failed, 2 wrong usage or configuration. */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<number> {
  const program = createProgram(io);
  registerStart(program, io);
  registerCheck(program, io);
  registerExplain(program, io);
  registerUsers(program, io);
  registerMigrate(program, io);
  registerServers(program, io);
  registerSubscriptions(program, io);
  registerMessages(program, io);
  registerRules(program, io);
  registerRouting(program, io);
  registerDemo(program, io);
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    const code = usageCode(error);
    if (code === undefined) reportFailure(io, error);
    else if (code === 2) io.fail(2);
  }
  return io.exitCode;
}
