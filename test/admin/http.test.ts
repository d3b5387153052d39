import { createConnection } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { createAdmin } from "../../src/admin/admin.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { Timers } from "../../src/runtime/runtime.ts";
import { leakChecked } from "../support/leak.ts";
import { openDesk } from "./support.ts";

describe("over HTTP", () => {
  it("answers where it says, and no more when it has stopped", async () => {
    const { options } = await openDesk();
    const admin = await createAdmin(leakChecked(createRealRuntime()), options);
    expect(admin.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await fetch(`${admin.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${admin.url}/api/v1/users/alice@example.com/bind`, { method: "POST" })).status).toBe(400);
    await admin.stop();
    await expect(fetch(`${admin.url}/healthz`)).rejects.toThrow();
  });

  it("stops although a client holds a connection open", async () => {
    const { options } = await openDesk();
    const runtime = leakChecked(createRealRuntime());
    const { timers } = runtime;
    const impatient: Timers = {
      after: (_ms, run) => timers.after(0, run),
      soon: (run) => timers.soon(run),
    };
    const admin = await createAdmin({ ...runtime, timers: impatient }, options);
    const socket = createConnection({ host: "127.0.0.1", port: Number(new URL(admin.url!).port) });
    onTestFinished(() => void socket.destroy());
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.write("POST /api/v1/users/a@example.com/bind HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n");
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    await admin.stop();
    await closed;
  });

  it("an address in use rejects, and leaves nothing open", async () => {
    const first = await openDesk();
    const runtime = leakChecked(createRealRuntime());
    const admin = await createAdmin(runtime, first.options);
    onTestFinished(() => admin.stop());
    const listen = { ...first.options.listen, port: Number(new URL(admin.url!).port) };
    await expect(createAdmin(runtime, { ...first.options, listen })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});
