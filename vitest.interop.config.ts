import { defineConfig } from "vitest/config";

/** Against Kamailio, SIPp and sip.js on real sockets: needs Debian's packages, so `.ci/run` runs it and `npm test` does not. */
export default defineConfig({
  test: {
    include: ["test/interop/**/*.test.ts"],
    globalSetup: ["test/support/build.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: "forks",
    maxWorkers: 1,
    fileParallelism: false,
  },
});
