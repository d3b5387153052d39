import type { Config } from "./config.ts";
import { type LoadOptions, loadConfig } from "./load.ts";

/** What runs without a configuration: a domain of three servers on loopback. */
export const EXAMPLE = `domain: example.com
listen:
  - udp://127.0.0.1:5060
  - tcp://127.0.0.1:5060
  - ws://127.0.0.1:5066
database: embedded
admin: { url: http://127.0.0.1:8060 }
servers:
  east: { uri: "sip:127.0.0.11:5060" }
  west: { uri: "sip:127.0.0.12:5060" }
  north: { uri: "sip:127.0.0.13:5060" }
clients: { home: east }
`;

export function defaultConfig(options: LoadOptions = {}): Config {
  const loaded = loadConfig(EXAMPLE, options);
  if (loaded.config === undefined) throw new Error(`the example is faulty: ${loaded.faults[0]?.message}`);
  return loaded.config;
}
