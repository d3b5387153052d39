import { z } from "zod";
import { MOST_TEXT } from "../directory/user-documents.ts";
import type { Condition } from "../policy/conditions.ts";
import { readImRules } from "../policy/im-rules.ts";
import { WAYS } from "../policy/options.ts";
import { isEverything, type Permissions } from "../policy/permissions.ts";
import { HANDLINGS, type Handling } from "../policy/policy.ts";
import { readPresenceRules } from "../policy/pres-rules.ts";
import type { App, Desk } from "./app.ts";
import { warningsOf } from "./documents.ts";
import { Problem } from "./problem.ts";
import { type RulesKind, seedRules, setHandling } from "./rule-edits.ts";
import { aor, component } from "./schemas.ts";

const tags = ["rules"];
const MOST_TRIES = 8;

const who = z.string().describe("an identity, `*@domain`, `anybody` who has proved who he is, or `everybody`");

export const ruleSchema = component(
  "Rule",
  z.object({
    id: z.string(),
    who: z.array(who),
    except: z.array(z.string()),
    when: z.array(z.string()).describe("further conditions; all must hold"),
    handling: z.enum(HANDLINGS).nullable().describe("of messages and calls: allow or block; null: it says none"),
    shows: z.enum(["everything", "some", "nothing"]).nullable().describe("of his presence; null: it is about messages"),
    methods: z.array(z.string()).describe("messages and calls it is about"),
  }),
);

const rulesSchema = z.object({
  aor: z.string(),
  way: z.enum(WAYS).describe("who decides; with distributed and pdp not these rules"),
  presence: z.object({ etag: z.string().nullable(), rules: z.array(ruleSchema), warnings: z.array(z.string()) }),
  messages: z.object({ etag: z.string().nullable(), rules: z.array(ruleSchema), warnings: z.array(z.string()) }),
  defaults: z
    .object({ presence: z.enum(HANDLINGS), contact: z.enum(["allow", "block"]) })
    .describe("what the domain says of a user without rules"),
});

const changedSchema = z.object({
  aor: z.string(),
  kind: z.enum(["pres-rules", "im-rules"]),
  watcher: z.string(),
  handling: z.enum(HANDLINGS),
  changed: z.boolean().describe("false: he had it already"),
  etag: z.string().nullable(),
});

export type RulesJson = z.output<typeof rulesSchema>;
export type RuleJson = z.output<typeof ruleSchema>;
export type RuleChangeJson = z.output<typeof changedSchema>;

/** Who may see and reach a user, told and changed without XML. */
export function ruleRoutes(app: App, { options, names }: Desk): void {
  const { documents } = options.directory;
  const defaultsOf = (user: string) =>
    options.policy?.defaultsOf(user) ?? ({ presence: "allow", contact: "allow" } as const);

  app.get("/api/v1/users/:aor/rules", {
    schema: {
      tags,
      summary: "A user's rules in plain words",
      params: z.object({ aor }),
      response: { 200: rulesSchema },
    },
    handler: async (request) => {
      const user = names.user(request.params.aor);
      const [presence, messages] = await Promise.all([
        documents.get(user, "pres-rules"),
        documents.get(user, "im-rules"),
      ]);
      return {
        aor: user,
        way: options.policy?.wayOf(user) ?? "distributed",
        presence: {
          etag: presence?.etag ?? null,
          rules: presence === null ? [] : presenceJson(presence.text),
          warnings: presence === null ? [] : warningsOf("pres-rules", presence.text),
        },
        messages: {
          etag: messages?.etag ?? null,
          rules: messages === null ? [] : contactJson(messages.text),
          warnings: messages === null ? [] : warningsOf("im-rules", messages.text),
        },
        defaults: defaultsOf(user),
      };
    },
  });

  app.post("/api/v1/users/:aor/rules/:handling", {
    schema: {
      tags,
      summary:
        "Set what one watcher (or, with about: messages, one sender) gets; all else stays. A user without rules gets a document that begins with the domain's default for everybody else",
      params: z.object({ aor, handling: z.enum(HANDLINGS) }),
      body: z.strictObject({
        watcher: z.string().min(3).max(600).describe("user@host"),
        about: z.enum(["presence", "messages"]).default("presence"),
      }),
      response: { 200: changedSchema },
    },
    handler: async (request) => {
      const { handling } = request.params;
      const user = names.user(request.params.aor);
      const watcher = names.address(request.body.watcher, "watcher");
      const kind = request.body.about === "messages" ? "im-rules" : "pres-rules";
      if (kind === "im-rules" && handling !== "allow" && handling !== "block") {
        throw new Problem(400, "bad-handling", "Messages are allowed or blocked.", { field: "handling" });
      }
      const answer = { aor: user, kind, watcher, handling } as const;
      return { ...answer, ...(await edit(user, kind, watcher, handling, request.actor)) };
    },
  });

  async function edit(user: string, kind: RulesKind, watcher: string, handling: Handling, actor: string) {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const stored = await documents.get(user, kind);
      const defaults = defaultsOf(user);
      const text = stored?.text ?? seedRules(kind, kind === "pres-rules" ? defaults.presence : defaults.contact);
      const edited = setHandling(text, kind, watcher, handling);
      if (edited.done === "refused") throw refused(edited.rule, watcher);
      if (edited.done === "same" && stored !== null) return { changed: false, etag: stored.etag };
      const next = edited.done === "same" ? text : edited.text;
      if (Buffer.byteLength(next) > MOST_TEXT) throw new Problem(409, "too-large", "The document would be too large.");
      const when = stored === null ? ({ noneMatch: "*" } as const) : { match: [stored.etag] };
      const written = await documents.put(user, kind, next, when, actor);
      if (written.outcome === "written") return { changed: true, etag: written.etag };
    }
    throw new Problem(503, "busy", "Others write these rules all the time: try again.");
  }
}

function refused(rule: string, watcher: string): Problem {
  return rule === ""
    ? new Problem(400, "bad-watcher", `${watcher} cannot be named in a rule.`, { field: "watcher" })
    : new Problem(409, "rule-for-all", `Rule ${rule} is for everybody and grants more: change the document itself.`);
}

function presenceJson(text: string): RuleJson[] {
  return readPresenceRules(text).map(({ id, conditions, handling, permissions }) => ({
    id,
    ...conditionsJson(conditions),
    handling,
    shows: showsOf(permissions),
    methods: [],
  }));
}

function showsOf(permissions: Permissions): "everything" | "some" | "nothing" {
  if (isEverything(permissions)) return "everything";
  const { services, persons, devices } = permissions;
  return [services, persons, devices].some((each) => each === "all" || each.size > 0) ? "some" : "nothing";
}

function contactJson(text: string): RuleJson[] {
  return readImRules(text).map(({ id, conditions, allows }) => ({
    id,
    ...conditionsJson(conditions),
    handling: allows.size > 0 ? ("allow" as const) : ("block" as const),
    shows: null,
    methods: [...allows],
  }));
}

function conditionsJson(conditions: readonly Condition[]): Pick<RuleJson, "who" | "except" | "when"> {
  const who: string[] = [];
  const except: string[] = [];
  const when: string[] = [];
  for (const each of conditions) {
    if (each.kind === "sphere") when.push(`in the sphere ${each.values.join(" or ")}`);
    else if (each.kind === "never") when.push("never: a condition is not understood");
    else if (each.kind === "validity") when.push(each.windows.map(windowText).join(", "));
    else {
      for (const test of each.any) {
        if ("one" in test) who.push(test.one);
        else {
          who.push(test.domain === null ? "anybody" : `*@${test.domain}`);
          except.push(...test.exceptIds, ...[...test.exceptDomains].map((domain) => `*@${domain}`));
        }
      }
    }
  }
  if (!conditions.some((each) => each.kind === "identity")) who.push("everybody");
  return { who, except, when };
}

function windowText({ from, until }: { readonly from: number; readonly until: number }): string {
  return `from ${new Date(from).toISOString()} until ${new Date(until).toISOString()}`;
}
