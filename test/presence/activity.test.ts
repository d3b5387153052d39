import { describe, expect, it } from "vitest";
import { activityOf } from "../../src/presence/activity.ts";
import { parsePidf } from "../../src/presence/pidf.ts";

const doc = (inside: string) =>
  parsePidf(
    `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="pres:a@example.com">${inside}</presence>`,
  );
const tuple = (basic: string, more = "") => `<tuple id="t"><status><basic>${basic}</basic></status>${more}</tuple>`;
const person = (inside: string) => `<dm:person id="p">${inside}</dm:person>`;
const input = (state: string) => `<rpid:user-input>${state}</rpid:user-input>`;
const does = (what: string) => person(`<rpid:activities><rpid:${what}/></rpid:activities>`);

describe("how active somebody is", () => {
  it("not at all without an open tuple, whatever his person does", () => {
    expect(activityOf(doc(""))).toBe(0);
    expect(activityOf(doc(tuple("closed") + person(input("active"))))).toBe(0);
  });

  it("rises: idle, nothing said, in use; away, busy, neither", () => {
    const rising = [
      tuple("open") + does("away") + person(input("idle")),
      tuple("open") + does("meeting") + person(input("idle")),
      tuple("open", input("idle")),
      tuple("open") + does("away"),
      tuple("open") + does("busy"),
      tuple("open"),
      tuple("open") + does("sleeping") + person(input("active")),
      tuple("open") + person(input("active")),
    ].map((each) => activityOf(doc(each)));
    expect(rising).toEqual(rising.toSorted((a, b) => a - b));
    expect(new Set(rising).size).toBe(rising.length);
  });

  it("RFC 3863 4.1.5: the contact's priority tells apart what is otherwise alike", () => {
    const of = (priority: string) =>
      activityOf(doc(tuple("open", `<contact priority="${priority}">sip:a@b</contact>`)));
    expect(of("0.8")).toBeGreaterThan(of("0.2"));
    expect(of("7")).toBe(of("0"));
  });

  it("one device in use outweighs one that lies idle", () => {
    const device = (state: string) =>
      `<dm:device id="d${state}">${input(state)}<dm:deviceID>urn:d</dm:deviceID></dm:device>`;
    expect(activityOf(doc(tuple("open") + device("idle") + device("active")))).toBe(
      activityOf(doc(tuple("open") + device("active"))),
    );
  });
});
