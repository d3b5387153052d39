import type { FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { z } from "zod";
import { components as registered } from "./schemas.ts";

/** How zod shapes become the OpenAPI document; `docs/openapi.json` is a copy of it. */

const COMPONENTS = "#/components/schemas/";
/** Written in place of `$ref` while @fastify/swagger, which would resolve it, handles the schema. */
const REF = "x-component";

export function openApi(): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "codomain admin API",
        description:
          "Users, servers and routing of one codomain proxy. Every failure is a Problem; every change is written to the audit trail.",
        version: "1",
      },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
      security: [{ token: [] }],
    },
    transform: ({ schema, url }) => {
      const { body, querystring, params, response, ...rest } = (schema ?? {}) as Readonly<Record<string, unknown>>;
      const answers = response as Readonly<Record<string, unknown>> | undefined;
      return {
        url,
        schema: {
          ...rest,
          ...(body === undefined ? {} : { body: jsonOf(body, "input") }),
          ...(querystring === undefined ? {} : { querystring: jsonOf(querystring, "input") }),
          ...(params === undefined ? {} : { params: jsonOf(params, "input") }),
          ...(answers === undefined
            ? {}
            : {
                response: {
                  ...Object.fromEntries(
                    Object.entries(answers).map(([status, shape]) => [status, jsonOf(shape, "output")]),
                  ),
                  default: { description: "Refused, or failed", [REF]: `${COMPONENTS}Problem` },
                },
              }),
        },
      };
    },
    transformObject: (document) => {
      if (!("openapiObject" in document)) return document.swaggerObject;
      const { schemas } = z.toJSONSchema(registered, {
        io: "output",
        override: tidy,
        uri: (id) => `${COMPONENTS}${id}`,
      });
      const components = Object.fromEntries(
        Object.entries(schemas).map(([id, { $schema, $id, ...schema }]) => [id, schema]),
      );
      return withRefs({
        ...document.openapiObject,
        components: { ...document.openapiObject.components, schemas: components },
      }) as typeof document.openapiObject;
    },
  };
}

function jsonOf(shape: unknown, io: "input" | "output"): unknown {
  if (!(shape instanceof z.ZodType)) return shape;
  const { $schema, $defs, ...schema } = z.toJSONSchema(shape, { io, unrepresentable: "any", override: tidy });
  return withoutRefs(schema);
}

/** Without what zod says and nobody wants to read: the bounds of a double, the expression behind a format. */
function tidy({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
}

/** `$ref: #/$defs/X` -> our marker. */
function withoutRefs(value: unknown): unknown {
  return mapKeys(value, (key, inner) =>
    key === "$ref" && typeof inner === "string" ? [REF, inner.replace("#/$defs/", COMPONENTS)] : [key, inner],
  );
}

function withRefs(value: unknown): unknown {
  return mapKeys(value, (key, inner) => [key === REF ? "$ref" : key, inner]);
}

function mapKeys(value: unknown, change: (key: string, value: unknown) => [string, unknown]): unknown {
  if (Array.isArray(value)) return value.map((each) => mapKeys(each, change));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const [name, next] = change(key, inner);
      return [name, mapKeys(next, change)];
    }),
  );
}
