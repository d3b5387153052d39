import { z } from "zod";
import type { App, Desk } from "./app.ts";
import { component } from "./schemas.ts";

const tags = ["status"];

const checkSchema = component("Check", z.object({ ok: z.boolean(), detail: z.string() }));

const readySchema = z.object({
  ready: z.boolean(),
  checks: z.object({ database: checkSchema, listeners: checkSchema, accepting: checkSchema }),
});

const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Is it alive, can it route, how much has it done. */
export function statusRoutes(app: App, { runtime, options }: Desk): void {
  const { proxy, directory } = options;
  const startedAt = runtime.clock.now();

  app.get("/healthz", {
    config: { open: true },
    schema: {
      tags,
      summary: "Alive",
      security: [],
      response: { 200: z.object({ status: z.literal("ok"), version: z.string() }) },
    },
    handler: async () => ({ status: "ok" as const, version: options.version }),
  });

  app.get("/readyz", {
    config: { open: true },
    schema: {
      tags,
      summary: "Can route: the database answers, SIP is listened on, nothing is drained; 503 otherwise",
      security: [],
      response: { 200: readySchema, 503: readySchema },
    },
    handler: async (_request, reply) => {
      const points = options.listening().length;
      const checks = {
        database: directory.available
          ? { ok: true, detail: "answers" }
          : { ok: false, detail: "does not answer; users known here are still routed" },
        listeners: { ok: points > 0, detail: `${points} open` },
        accepting: proxy.draining ? { ok: false, detail: "draining" } : { ok: true, detail: "takes new requests" },
      };
      const ready = Object.values(checks).every((check) => check.ok);
      return reply.status(ready ? 200 : 503).send({ ready, checks });
    },
  });

  app.get("/metrics", {
    schema: { tags, summary: "Prometheus text", response: { 200: z.string() } },
    handler: async (_request, reply) => {
      const text = await options.metrics();
      return reply
        .type(METRICS_TYPE)
        .serializer((page: string) => page)
        .send(text);
    },
  });

  app.get("/api/v1/status", {
    schema: {
      tags,
      summary: "What this proxy is and how much it has done since it started",
      response: {
        200: z.object({
          version: z.string(),
          proxy: z.string().describe("its name among those on one database"),
          domains: z.array(z.string()),
          uptimeSeconds: z.int(),
          database: z.boolean(),
          draining: z.boolean(),
          cachedUsers: z.int(),
          openRequests: z.int(),
          openForks: z.int(),
          waitingRequests: z.int().describe("for the result of another's fork"),
          counters: z.object({
            requests: z.record(z.string(), z.int()).describe("ended, by plan"),
            learned: z.int(),
            unlearned: z.int(),
            conflicts: z.int(),
          }),
        }),
      },
    },
    handler: async () => ({
      version: options.version,
      proxy: directory.proxy,
      domains: [...options.domains()],
      uptimeSeconds: Math.floor((runtime.clock.now() - startedAt) / 1000),
      database: directory.available,
      draining: proxy.draining,
      cachedUsers: options.cache.size,
      openRequests: proxy.open,
      openForks: proxy.openForks.size,
      waitingRequests: proxy.openForks.waiting,
      counters: {
        requests: await byLabel("codomain_requests_total", "plan"),
        learned: await total("codomain_learned_total"),
        unlearned: await total("codomain_unlearned_total"),
        conflicts: await total("codomain_conflicts_total"),
      },
    }),
  });

  async function total(metric: string): Promise<number> {
    return (await options.counts(metric)).reduce((sum, each) => sum + each.value, 0);
  }

  async function byLabel(metric: string, label: string): Promise<Record<string, number>> {
    const sums: Record<string, number> = {};
    for (const { labels, value } of await options.counts(metric)) {
      const name = String(labels[label] ?? "");
      sums[name] = (sums[name] ?? 0) + value;
    }
    return sums;
  }
}
