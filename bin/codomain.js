#!/usr/bin/env node
import { main } from "../dist/main.js";

// A reader that has seen enough (`| head`) is no error, and no reason to stop routing.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error) => {
    if (error.code !== "EPIPE") throw error;
  });
}

process.exitCode = await main(process.argv.slice(2));
