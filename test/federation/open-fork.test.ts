import { describe, expect, it } from "vitest";
import type { ForkKey, OpenFork } from "../../src/directory/directory.ts";
import { judgeOpenForks } from "../../src/federation/open-fork.ts";

const REQUEST: ForkKey = {
  sender: "bob@example.com",
  recipient: "alice@example.com",
  method: "SUBSCRIBE",
  event: "presence",
};

function fork(change: Partial<OpenFork> = {}): OpenFork {
  return { ...REQUEST, id: "1", asked: ["east", "west"], owner: "p1", expiresAt: 0, ...change };
}

describe("a request that meets open forks", () => {
  it("from a server being asked, of the same sender, recipient, method and event: not mine", () => {
    expect(judgeOpenForks([fork()], REQUEST, "west")).toBe("not-mine");
  });

  it("that has waited before is not mine all the same", () => {
    expect(judgeOpenForks([fork()], REQUEST, "west", true)).toBe("not-mine");
  });

  it("is not mine whichever of several forks asked that server", () => {
    const other = fork({ id: "2", sender: "carol@example.com" });
    expect(judgeOpenForks([other, fork()], REQUEST, "east")).toBe("not-mine");
  });

  it("from a server that is not being asked waits", () => {
    expect(judgeOpenForks([fork()], REQUEST, "north")).toBe("wait");
  });

  it("of the same sender, but from no server, waits", () => {
    expect(judgeOpenForks([fork()], REQUEST, null)).toBe("wait");
  });

  it("of another sender waits, even from a server being asked", () => {
    expect(judgeOpenForks([fork({ sender: "carol@example.com" })], REQUEST, "west")).toBe("wait");
  });

  it("of another method or event waits: it is no return of that request", () => {
    expect(judgeOpenForks([fork({ method: "MESSAGE", event: "" })], REQUEST, "west")).toBe("wait");
    expect(judgeOpenForks([fork({ event: "dialog" })], REQUEST, "west")).toBe("wait");
  });

  it("that has waited once opens its own", () => {
    expect(judgeOpenForks([fork()], REQUEST, null, true)).toBe("open-own");
  });

  it("opens its own where no fork for that user is open", () => {
    expect(judgeOpenForks([], REQUEST, "west")).toBe("open-own");
    expect(judgeOpenForks([fork({ recipient: "dave@example.com" })], REQUEST, "west")).toBe("open-own");
  });
});
