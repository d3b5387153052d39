import { z } from "zod";
import { WAYS } from "../policy/options.ts";
import { HANDLINGS } from "../policy/policy.ts";
import { duration, pointUrl } from "./scalars.ts";

/** The section `policy` (docs/policy.md). */

const count = (least: number, most: number) => z.int().min(least).max(most);
const way = () =>
  z
    .enum(WAYS)
    .describe(
      "distributed: each server decides by itself; root-only: users' rules decide here; central: they are pushed to the servers too; pdp: a decision point is asked.",
    );
const presence = () => z.enum(HANDLINGS).describe("What a watcher of a user without rules gets.");
const contact = () =>
  z.enum(["allow", "block"]).describe("Whether anybody may write to a user without rules, or call him.");

const pdp = z
  .strictObject({
    url: pointUrl().describe("Where the decision point is: the base of its AuthZEN endpoints."),
    token: z.string().min(1).optional().describe("Bearer token it asks for."),
    ca: z
      .string()
      .min(1)
      .optional()
      .describe("PEM file with the authorities its certificate is checked against. Default: the system's."),
    timeout: duration(10).prefault("2s").describe("How long a question waits for its answer."),
    cache: duration(0).prefault("5m").describe("How long an answer is believed; 0s: asked every time."),
    entries: count(1, 10_000_000).default(100_000).describe("Answers remembered, at most."),
    stale: duration(0).prefault("0s").describe("How long beyond that the last answer stands in while it is away."),
    unavailable: z.enum(HANDLINGS).default("block").describe("What is decided while it is away and nothing stands in."),
    batch: count(1, 1000).default(50).describe("Questions in one request, at most."),
    connections: count(1, 100).default(4).describe("Connections to it, at most."),
  })
  .optional()
  .describe("A policy decision point that speaks the OpenID AuthZEN Authorization API.");

export const policy = z
  .strictObject({
    way: way().default("distributed"),
    presence: presence().default("confirm"),
    contact: contact().default("allow"),
    domains: z
      .record(
        z.string(),
        z
          .strictObject({ way: way().optional(), presence: presence().optional(), contact: contact().optional() })
          .describe("What is otherwise for the users of this domain."),
      )
      .default({})
      .describe("Domains where it is otherwise."),
    pdp,
    cedar: z
      .string()
      .min(1)
      .optional()
      .describe("File with policies in Cedar that are evaluated here, in place of a decision point."),
  })
  .prefault({})
  .describe("Who may see and reach whom.");
