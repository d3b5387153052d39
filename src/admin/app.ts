import swagger from "@fastify/swagger";
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyTypeProvider,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
} from "fastify";
import type { z } from "zod";
import type { Runtime } from "../runtime/runtime.ts";
import { auditRoutes } from "./audit.ts";
import { bindingRoutes } from "./bindings.ts";
import { documentRoutes } from "./documents.ts";
import { explainRoutes } from "./explain.ts";
import { Failures } from "./failures.ts";
import { Guard } from "./guard.ts";
import { importRoutes } from "./import.ts";
import { messageRoutes } from "./messages.ts";
import { moveCheckRoutes } from "./move-check.ts";
import { moveRoutes } from "./moves.ts";
import { Names } from "./names.ts";
import { openApi } from "./openapi.ts";
import { pageRoutes } from "./page.ts";
import { policyRoutes } from "./policy.ts";
import type { AdminOptions } from "./ports.ts";
import { invalid, Problem, problemHandler } from "./problem.ts";
import { provisioningRoutes } from "./provisioning.ts";
import { reconcilerRoutes } from "./reconciler.ts";
import { reloadRoutes } from "./reload.ts";
import { ruleRoutes } from "./rules.ts";
import { serverRoutes } from "./servers.ts";
import { statusRoutes } from "./status.ts";
import { subscriptionRoutes } from "./subscriptions.ts";
import { userRoutes } from "./users.ts";
import { xcapRoutes } from "./xcap.ts";

/** Route types come from the zod shapes in their schemas. */
interface ZodProvider extends FastifyTypeProvider {
  readonly validator: this["schema"] extends z.ZodType ? z.output<this["schema"]> : unknown;
  readonly serializer: this["schema"] extends z.ZodType ? z.input<this["schema"]> : unknown;
}

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodProvider
>;

export type DeskRuntime = Pick<Runtime, "clock" | "timers" | "random">;

/** What the routes work with. */
export interface Desk {
  readonly runtime: DeskRuntime;
  readonly options: AdminOptions;
  readonly names: Names;
}

const BODY_LIMIT = 64 * 1024;
const REQUEST_TIMEOUT_MS = 60_000;
const MAX_CONNECTIONS = 256;

/** All routes, not listening yet. Throws where the options would leave the API open. */
export async function buildApp(runtime: DeskRuntime, options: AdminOptions): Promise<App> {
  const failures = new Failures(runtime.clock);
  const guard = new Guard(options.listen, failures);
  const app: App = fastify({
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: 2048 },
    return503OnClosing: false,
    // Whoever stands before us on this machine says for whom: wrong passwords are counted by that.
    trustProxy: "loopback",
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  app.removeContentTypeParser("text/plain");
  app.setValidatorCompiler<z.ZodType>(({ schema }) => (data) => {
    const result = schema.safeParse(data);
    return result.success ? { value: result.data } : { error: invalid(result.error) };
  });
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.setErrorHandler(problemHandler(options.warn));
  app.setNotFoundHandler((request) => {
    throw new Problem(404, "not-found", `There is nothing at ${request.method} ${request.url.slice(0, 200)}.`);
  });
  app.decorateRequest("actor", "");
  app.addHook("onRequest", async (request, reply) => {
    reply.headers({
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    });
    try {
      request.actor = guard.check(request, reply, request.routeOptions.config.open === true);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) reply.header("www-authenticate", 'Bearer realm="codomain"');
      throw error;
    }
  });
  await app.register(swagger, openApi());
  const desk: Desk = { runtime, options, names: new Names(options) };
  statusRoutes(app, desk);
  userRoutes(app, desk);
  bindingRoutes(app, desk);
  importRoutes(app, desk);
  moveCheckRoutes(app, desk);
  moveRoutes(app, desk);
  serverRoutes(app, desk);
  explainRoutes(app, desk);
  subscriptionRoutes(app, desk);
  messageRoutes(app, desk);
  reconcilerRoutes(app, desk);
  auditRoutes(app, desk);
  reloadRoutes(app, desk);
  documentRoutes(app, desk);
  ruleRoutes(app, desk);
  policyRoutes(app, desk);
  provisioningRoutes(app, desk);
  xcapRoutes(app, desk, guard, failures);
  pageRoutes(app);
  await app.ready();
  return app;
}
