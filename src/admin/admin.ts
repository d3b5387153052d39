import type { Runtime } from "../runtime/runtime.ts";
import { buildApp } from "./app.ts";
import type { AdminOptions } from "./ports.ts";

export type { AdminOptions } from "./ports.ts";

export interface Admin {
  /** Of the page; null: none is served. */
  readonly url: string | null;
  /** Accepts no more; requests under way have a moment to end. */
  stop(): Promise<void>;
}

/** Longest wait for requests under way when stopping. */
const STOP_MS = 2000;

/** The admin API and page over HTTP. Rejects where the address cannot be listened on, or would be open without a token. */
export async function createAdmin(runtime: Runtime, options: AdminOptions): Promise<Admin> {
  const app = await buildApp(runtime, options);
  try {
    await app.listen({ host: options.listen.host, port: options.listen.port });
  } catch (error) {
    await app.close();
    throw error;
  }
  const { address, port } = app.server.address() as { address: string; port: number };
  return {
    url: `http://${address.includes(":") ? `[${address}]` : address}:${port}`,
    stop: async () => {
      const late = runtime.timers.after(STOP_MS, () => app.server.closeAllConnections());
      await app.close();
      late.cancel();
    },
  };
}
