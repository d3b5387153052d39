import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Child, eventually, startChild } from "./child.ts";

const run = promisify(execFile);

/** What really went over loopback, written down by tshark: independent of every program under test. */
export interface Capture {
  /** Ends the capture and counts packets that match a Wireshark display filter. */
  count(filter: string): Promise<number>;
  /** Ends the capture; the fields named of every packet that matches, one row each. */
  rows(filter: string, fields: readonly string[]): Promise<readonly string[][]>;
  close(): Promise<void>;
}

/** @param filter capture filter (pcap syntax): `udp port 5060 and net 127.0.0.0/8`. */
export async function capture(filter: string): Promise<Capture> {
  const directory = mkdtempSync(join(tmpdir(), "capture-"));
  const file = join(directory, "packets.pcapng");
  const child: Child = startChild("tshark", ["-q", "-i", "lo", "-f", filter, "-w", file, "-a", "duration:120"]);
  await eventually("tshark to listen", () => child.output().includes("Capture started"), 15_000);
  let ended = false;
  const end = async (): Promise<void> => {
    if (ended) return;
    ended = true;
    // tshark reads packets in batches: what was sent just now is still on its way to the file.
    await new Promise((resolve) => setTimeout(resolve, 500));
    child.signal("SIGINT");
    await child.exited;
  };
  const rows = async (display: string, fields: readonly string[]): Promise<readonly string[][]> => {
    await end();
    const args = [
      "-r",
      file,
      "-d",
      "udp.port==5060,sip",
      "-Y",
      display,
      "-T",
      "fields",
      ...fields.flatMap((field) => ["-e", field]),
    ];
    const { stdout } = await run("tshark", args, { timeout: 30_000, maxBuffer: 1 << 26 });
    return stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.split("\t"));
  };
  return {
    count: async (display) => (await rows(display, ["frame.number"])).length,
    rows,
    close: async () => {
      await end();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
