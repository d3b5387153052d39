import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { keepMessage, keepSubscriptions } from "./kept.ts";
import { ask, openDesk, type TestDesk, TOKEN } from "./support.ts";

const read = (name: string): string => readFileSync(new URL(`../../web/${name}`, import.meta.url), "utf8");

/** As much of an element as the page uses. Its text can only be text: there is no way to put markup in. */
class FakeElement {
  readonly tag: string;
  readonly attributes: Record<string, string> = {};
  readonly dataset: Record<string, string> = {};
  readonly #listeners: [string, (event: unknown) => unknown][] = [];
  children: (FakeElement | string)[] = [];
  hidden = false;
  className = "";
  #value = "";

  constructor(tag: string) {
    this.tag = tag;
  }

  get options(): FakeElement[] {
    return this.children.filter((child) => child instanceof FakeElement);
  }

  get value(): string {
    if (this.tag === "option") return this.attributes["value"] ?? this.textContent;
    if (this.tag === "select" && this.#value === "") return this.options[0]?.value ?? "";
    return this.#value;
  }

  set value(text: string) {
    this.#value = text;
  }

  get textContent(): string {
    return this.children.map((child) => (typeof child === "string" ? child : child.textContent)).join("");
  }

  set textContent(text: string) {
    this.children = [text];
  }

  setAttribute(name: string, value: string): void {
    this.attributes[name] = String(value);
  }

  append(...children: (FakeElement | string)[]): void {
    this.children.push(...children);
  }

  replaceChildren(...children: (FakeElement | string)[]): void {
    this.children = children;
  }

  addEventListener(type: string, listener: (event: unknown) => unknown): void {
    this.#listeners.push([type, listener]);
  }

  focus(): void {}

  fire(type: string, event: object = {}): void {
    for (const [name, listener] of this.#listeners) if (name === type) listener({ preventDefault: () => {}, ...event });
  }

  find(tag: string): FakeElement[] {
    return this.options.flatMap((child) => [...(child.tag === tag ? [child] : []), ...child.find(tag)]);
  }
}

/** The page's script on the ids of the page's markup, talking to the API of `desk`. */
async function openPage(desk: Pick<TestDesk, "app">) {
  const ids = new Map<string, FakeElement>();
  for (const [, tag, rest] of read("index.html").matchAll(/<(\w+)((?:\s[^>]*)?\sid="[^"]+"[^>]*)>/g)) {
    const element = new FakeElement(tag!);
    element.hidden = /\shidden\b/.test(rest!);
    const servers = /data-servers="([^"]*)"/.exec(rest!)?.[1];
    if (servers !== undefined) element.dataset["servers"] = servers;
    ids.set(/\sid="([^"]+)"/.exec(rest!)![1]!, element);
  }
  ids.get("method")!.value = "MESSAGE";
  const $ = (id: string): FakeElement => {
    const element = ids.get(id);
    if (element === undefined) throw new Error(`index.html has no #${id}`);
    return element;
  };
  const storage = () => {
    const kept = new Map<string, string>();
    return {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
      removeItem: (key: string) => void kept.delete(key),
    };
  };
  const document = {
    hidden: false,
    documentElement: new FakeElement("html"),
    getElementById: $,
    createElement: (tag: string) => new FakeElement(tag),
    querySelectorAll: () => [...ids.values()].filter((each) => "servers" in each.dataset),
  };
  const rounds: (() => unknown)[] = [];
  const window = {
    setTimeout: (run: () => unknown) => rounds.push(run),
    getComputedStyle: () => ({ colorScheme: "light" }),
  };
  let open = 0;
  const fetch = async (url: string, { method, headers, body }: { method: "GET"; headers: object; body?: string }) => {
    open++;
    const response = await desk.app.inject({
      method,
      url,
      headers: { host: "127.0.0.1", ...headers },
      ...(body === undefined ? {} : { payload: body }),
    });
    open--;
    return { status: response.statusCode, ok: response.statusCode < 400, json: async () => response.json() };
  };
  const run = new Function(
    ...["document", "window", "fetch", "sessionStorage", "localStorage", "Node"],
    `return (async () => {${read("page.js")}})();`,
  );
  const session = storage();
  /** Until nothing more is asked of the API. */
  const settle = async (): Promise<void> => {
    for (let quiet = 0; quiet < 20; quiet = open === 0 ? quiet + 1 : 0)
      await new Promise((resolve) => setImmediate(resolve));
  };
  await run(document, window, fetch, session, storage(), FakeElement);
  await settle();
  return { $, settle, session, document, nextRound: () => rounds.shift()?.() };
}

describe("the admin page", () => {
  it("names an element for every label, and a label or a name for every control", () => {
    const html = read("index.html");
    const controls = [...html.matchAll(/<(?:input|select)[^>]*\sid="([^"]+)"/g)].map((match) => match[1]);
    const labels = [...html.matchAll(/<label for="([^"]+)"/g)].map((match) => match[1]);
    expect(controls.length).toBeGreaterThan(8);
    expect(labels.sort()).toEqual(controls.sort());
    expect(html).toContain('<html lang="en">');
    for (const [, id] of html.matchAll(/aria-labelledby="([^"]+)"/g)) expect(html).toContain(`id="${id}"`);
  });

  it("puts text in as text only", () => {
    expect(read("page.js")).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|\.style\b/);
  });

  it("shows health, servers, users, counters and changes", async () => {
    const desk = await openDesk();
    await ask(desk, "POST", "/api/v1/users/alice@example.com/bind", { server: "west" });
    const { $ } = await openPage(desk);
    expect([$("main").hidden, $("login").hidden, $("notice").hidden]).toEqual([false, true, true]);
    expect($("ready").textContent).toBe("ready");
    expect($("identity").textContent).toContain("proxy-1 for example.com, other.net");
    expect(
      $("servers")
        .find("th")
        .map((each) => each.textContent),
    ).toEqual(["east", "west", "north"]);
    expect($("servers").textContent).toContain("sip:127.0.0.13:5060 down, 3 failures");
    expect(
      $("users")
        .find("button")
        .map((each) => each.textContent),
    ).toEqual(["alice@example.com"]);
    expect($("counters").textContent).toContain("relayed7");
    expect($("audit").textContent).toContain("localbindalice@example.com");
    expect($("on-server").options.map((each) => each.textContent)).toEqual(["any server", "east", "west", "north"]);
    expect($("where").options.map((each) => each.textContent)).toEqual(["east", "west", "north"]);
  });

  it("binds, moves and unbinds; a refusal is told and goes with the next success", async () => {
    const desk = await openDesk();
    const { $, settle } = await openPage(desk);
    const place = async (verb: string, server: string): Promise<string> => {
      $("who").value = "alice@example.com";
      $("where").value = server;
      $("place").fire("submit", { submitter: { value: verb } });
      await settle();
      return $("placed").textContent;
    };
    expect(await place("bind", "east")).toBe("alice@example.com is on east (epoch 1).");
    expect(await place("bind", "west")).toBe("");
    expect([$("notice").hidden, $("notice").textContent]).toEqual([
      false,
      "alice@example.com is held by east (admin): move him.",
    ]);
    expect(await place("move", "west")).toBe("alice@example.com is on west (epoch 2).");
    expect($("notice").hidden).toBe(true);
    expect($("users").textContent).toContain("west");
    expect(await place("unbind", "")).toBe("alice@example.com is no longer bound to west (epoch 3).");
    expect((await desk.directory.audit({ limit: 1 }))[0]?.actor).toBe("local:page");
  });

  it("drains a server and explains a request", async () => {
    const desk = await openDesk();
    const { $, settle } = await openPage(desk);
    $("servers").find("button")[0]!.fire("click");
    await settle();
    expect(desk.proxy.servers()[0]?.drained).toBe(true);
    expect($("servers").find("button")[0]!.attributes["aria-label"]).toBe("resume east");
    $("aor").value = "alice@example.com";
    $("explain").fire("submit");
    await settle();
    expect([$("explanation").hidden, $("explanation").textContent.split("\n")[0]]).toEqual([
      false,
      "MESSAGE for alice@example.com from client",
    ]);
    await ask(desk, "PUT", "/api/v1/users/ann@example.com", { model: "unioned", settings: { tree: "hq" } });
    for (const [id, value] of Object.entries({
      aor: "ann@example.com",
      method: "SUBSCRIBE",
      from: "west",
      direction: "down",
    }))
      $(id).value = value;
    $("explain").fire("submit");
    await settle();
    expect($("explanation").textContent).toContain("union: tree hq\n");
  });

  it("shows held and live subscriptions, messages that wait with their trace, and never what they say", async () => {
    const desk = await openDesk();
    await keepSubscriptions(desk.directory);
    await keepMessage(desk.directory);
    const { $, settle } = await openPage(desk);
    expect($("subscriptions").textContent).toMatch(
      /alice@example\.compresenceheld.*carol@example\.compresenceliveeast/,
    );
    $("presentity").value = "carol@example.com";
    $("subscribed").fire("submit");
    await settle();
    expect($("subscriptions").textContent).not.toContain("alice");
    expect($("messages").textContent).toMatch(/^alice@example\.combob@example\.com/);
    $("messages").find("button")[0]!.fire("click");
    await settle();
    expect([$("trace").hidden, $("trace").textContent]).toEqual([
      false,
      expect.stringMatching(/received[\s\S]*stored/),
    ]);
    expect($("messages").textContent + $("trace").textContent).not.toContain("secret");
  });

  it("of a composed subscription shows how each of the servers stands", async () => {
    const desk = await openDesk();
    const owner = await desk.directory.leases.open("sip:127.0.0.1", 60_000);
    const row = {
      id: "cdm-3",
      kind: "composed",
      aor: "dora@example.com",
      watcher: "bob@example.com",
      origin: null,
      event: "presence",
      dialog: "a dialog",
      leg: "east c 0,west p 0\n",
      legServer: "east,west",
      extendedEpoch: 0,
      expiresAt: Date.parse("2100-01-01T00:00:00Z"),
      notifyReserved: 16,
      legReserved: 16,
    } as const;
    await desk.directory.subscriptions.insert(owner, row, false);
    const { $ } = await openPage(desk);
    const [east, west] = $("subscriptions").find("li");
    expect([east?.textContent, west?.textContent]).toEqual(["east confirmed", "west pending"]);
  });

  it("subscriptions are shown as they are now, those searched for last", async () => {
    const desk = await openDesk();
    const { $, settle, nextRound } = await openPage(desk);
    expect($("subscriptions").textContent).toBe("No subscriptions.");
    const round = async () => {
      nextRound();
      await settle();
    };
    await keepSubscriptions(desk.directory);
    await round();
    expect($("subscriptions").textContent).toMatch(/alice@example\.com.*carol@example\.com/);
    $("presentity").value = "carol@example.com";
    $("subscribed").fire("submit");
    await settle();
    // Half an address, and one of another domain: no search, and no search that failed, is asked again.
    for (const typed of ["ali", "alice@elsewhere.org"]) {
      $("presentity").value = typed;
      if (typed !== "ali") $("subscribed").fire("submit");
      await settle();
      await round();
      expect($("subscriptions").textContent).toMatch(/^(?!.*alice).*carol@example\.com/);
    }
  });

  it("moves a server's users: a dry run counts, the batch is shown and can be paused and cancelled", async () => {
    const desk = await openDesk();
    await ask(desk, "POST", "/api/v1/users/alice@example.com/bind", { server: "east" });
    const { $, settle } = await openPage(desk);
    expect($("moves").textContent).toBe("Nobody is being moved.");
    const migrate = async (verb: string): Promise<string> => {
      $("move-from").value = "east";
      $("move-to").value = "west";
      $("move-rate").value = "20";
      $("migrate").fire("submit", { submitter: { value: verb } });
      await settle();
      return $("migrated").textContent;
    };
    expect(await migrate("check")).toBe("1 would be moved, 0 refused. Nothing was written.");
    expect(await migrate("move")).toMatch(/^Batch \w{10} runs\. To move its users back: npx codomain migrate --undo /);
    expect($("moves").textContent).toContain("east to westrunning");
    for (const state of ["paused", "Nobody is being moved."]) {
      $("moves")
        .find("button")
        .find((each) => /pause|cancel/.test(each.textContent))!
        .fire("click");
      await settle();
      expect($("moves").textContent).toContain(state);
    }
    const actions = (await desk.directory.audit({ limit: 3 })).map((each) => [each.action, each.actor]);
    expect(actions).toEqual(["cancel", "pause", "create"].map((verb) => [`${verb}-moves`, "local:page"]));
  });

  it("shows a user's rules, and sets what somebody gets", async () => {
    const desk = await openDesk({
      policy: {
        wayOf: () => "root-only",
        defaultsOf: () => ({ presence: "confirm", contact: "allow" }),
        changed: () => undefined,
      },
    });
    const { $, settle } = await openPage(desk);
    $("ruled").value = "alice@example.com";
    $("rules-of").fire("submit");
    await settle();
    expect($("rules").textContent).toBe(
      "no rulespresenceeverybodyconfirmas the domain saysno rulesmessages and callseverybodyallowas the domain says",
    );
    $("handled").value = "bob@example.com";
    $("handling").value = "block";
    $("about").value = "presence";
    $("handle").fire("submit");
    await settle();
    expect($("ruling").textContent).toBe("bob@example.com has block of alice@example.com.");
    expect($("rules").textContent).toContain("codomain-defaultpresenceanybody but bob@example.comconfirm");
    $("handled").value = "bob";
    $("handle").fire("submit");
    await settle();
    expect($("notice").textContent).toContain("is no user@host");
  });

  it("asks for the token once, keeps it for this tab, and says when it is not right", async () => {
    const desk = await openDesk({ listen: { host: "127.0.0.1", port: 0, token: TOKEN } });
    const { $, settle, session } = await openPage(desk);
    expect([$("login").hidden, $("main").hidden, $("notice").hidden]).toEqual([false, true, true]);
    const enter = async (token: string): Promise<void> => {
      $("token").value = token;
      $("login").fire("submit");
      await settle();
    };
    await enter("wrong");
    expect([$("login").hidden, $("notice").textContent]).toEqual([false, "The token is not right."]);
    await enter(TOKEN);
    expect([$("login").hidden, $("main").hidden, $("notice").hidden]).toEqual([true, false, true]);
    expect([session.getItem("codomain-token"), $("token").value]).toEqual([TOKEN, ""]);
  });

  it("looks again by itself: what is not ready is named, and a proxy that came back is no longer away", async () => {
    const desk = await openDesk();
    const { $, settle, nextRound } = await openPage(desk);
    desk.proxy.draining = true;
    await settle();
    nextRound();
    await settle();
    expect($("ready").textContent).toBe("not ready: accepting draining");
    desk.database.setAway(true);
    nextRound();
    await settle();
    expect($("notice").textContent).toContain("The database does not answer");
    desk.database.setAway(false);
    nextRound();
    await settle();
    expect($("notice").hidden).toBe(true);
  });

  it("the button changes between dark and light", async () => {
    const { $, document } = await openPage(await openDesk());
    $("theme").fire("click");
    expect(document.documentElement.dataset["theme"]).toBe("dark");
  });
});
