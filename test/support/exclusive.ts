import { Notifier } from "./notifier.ts";
import { createWorld, type World, type WorldOptions } from "./world.ts";

export const ALICE = "sip:alice@example.com";
export const AOR = "alice@example.com";

/** An exclusive domain whose servers do what the test says, and alice, who is known and on none of them. */
export class Exclusive {
  world!: World;
  readonly east = new Notifier("east");
  readonly west = new Notifier("west");

  async begin(options: WorldOptions = {}): Promise<World> {
    this.world = await createWorld({
      servers: { east: { script: this.east.script }, west: { script: this.west.script } },
      ...options,
      options: {
        models: [{ match: "*", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }],
        ...options.options,
      },
    });
    await this.known(AOR);
    return this.world;
  }

  known(aor: string, identities: Readonly<Record<string, string>> = {}): Promise<void> {
    return this.world.simulation.finish(
      this.world.proxies[0]!.directory.putUser({ aor, model: null, settings: {}, identities }, "test"),
    );
  }

  async bind(server: string, proxy = 0, aor = AOR): Promise<void> {
    const { directory } = this.world.proxies[proxy]!;
    await this.world.simulation.finish(directory.move({ aor, to: server, equalRank: true, actor: "test" }));
  }

  async unbind(proxy = 0): Promise<void> {
    await this.world.simulation.finish(this.world.proxies[proxy]!.directory.unbind({ aor: AOR, actor: "test" }));
  }

  rows() {
    return this.world.simulation.finish(this.world.proxies[0]!.directory.subscriptions.list({ limit: 100 }));
  }

  wait(ms: number): Promise<void> {
    return this.world.simulation.advance(ms);
  }
}
