import { existsSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse, parseDocument } from "yaml";
import { loadConfig } from "../../src/config/load.ts";

/** No container engine is needed here: syntax, and that the files agree with each other and with the tree. */
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string): string => readFileSync(`${ROOT}${path}`, "utf8");

// https://docs.docker.com/reference/dockerfile/
const INSTRUCTIONS = new Set([
  "FROM",
  "WORKDIR",
  "COPY",
  "RUN",
  "ENV",
  "USER",
  "VOLUME",
  "EXPOSE",
  "HEALTHCHECK",
  "STOPSIGNAL",
  "ENTRYPOINT",
  "CMD",
]);

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

function instructions(path: string): Instruction[] {
  const joined = read(path)
    .split("\n")
    .filter((line) => !line.startsWith("#") && line.trim() !== "")
    .join("\n")
    .replace(/\\\n/g, " ");
  return joined.split("\n").map((line) => {
    const [, name = "", rest = ""] = /^(\S+)\s+(.*)$/.exec(line.trim()) ?? [];
    return { name, rest: rest.trim() };
  });
}

describe.each([
  { path: "docker/Dockerfile", context: "" },
  { path: "docker/kamailio/Dockerfile", context: "docker/kamailio/" },
])("$path", ({ path, context }) => {
  const found = instructions(path);

  test("uses instructions that exist, the first being FROM", () => {
    expect(found[0]?.name).toBe("FROM");
    expect(found.filter((each) => !INSTRUCTIONS.has(each.name))).toEqual([]);
  });

  test("copies what is in the tree", () => {
    const sources = found
      .filter((each) => each.name === "COPY" && !each.rest.startsWith("--from="))
      .flatMap((each) => each.rest.split(/\s+/).slice(0, -1));
    expect(sources.length).toBeGreaterThan(0);
    expect(sources.filter((source) => !existsSync(`${ROOT}${context}${source}`))).toEqual([]);
  });

  test("does not run as root, tells its health, and starts without a shell in between", () => {
    const last = (name: string): string => found.findLast((each) => each.name === name)?.rest ?? "";
    expect(last("USER")).toMatch(/^(node|kamailio)$/);
    expect(last("HEALTHCHECK")).toContain("CMD [");
    expect(JSON.parse(last("ENTRYPOINT"))).toBeInstanceOf(Array);
  });
});

test("what the image copies is let through by its ignore file", () => {
  const allowed = new Set(
    read("docker/Dockerfile.dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1)),
  );
  const sources = instructions("docker/Dockerfile")
    .filter((each) => each.name === "COPY" && !each.rest.startsWith("--from="))
    .flatMap((each) => each.rest.split(/\s+/).slice(0, -1));
  expect(sources.filter((source) => !allowed.has(source))).toEqual([]);
});

interface Service {
  readonly image?: string;
  readonly build?: string | { readonly context: string; readonly dockerfile: string };
  readonly environment?: Readonly<Record<string, string>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly networks: { readonly sip: { readonly ipv4_address: string } };
  readonly ports?: readonly string[];
}

describe("docker/compose.yaml", () => {
  const compose = parse(read("docker/compose.yaml"), { merge: true }) as {
    readonly services: Readonly<Record<string, Service>>;
  };
  const address = (name: string): string => compose.services[name]?.networks.sip.ipv4_address ?? "";

  test("is YAML without faults and has the proxy, Postgres and two Kamailio servers", () => {
    expect(parseDocument(read("docker/compose.yaml"), { merge: true }).errors).toEqual([]);
    expect(Object.keys(compose.services).sort()).toEqual(["codomain", "east", "postgres", "west"]);
  });

  test("every service has an image or is built from a folder with a Dockerfile", () => {
    for (const service of Object.values(compose.services)) {
      const { image, build } = service;
      const file =
        typeof build === "string" ? `docker/${build}/Dockerfile` : build === undefined ? undefined : build.dockerfile;
      expect(image !== undefined || (file !== undefined && existsSync(`${ROOT}${file}`))).toBe(true);
    }
  });

  test("what a service waits for exists and can become healthy", () => {
    for (const service of Object.values(compose.services)) {
      for (const [name, { condition }] of Object.entries(service.depends_on ?? {})) {
        expect(compose.services).toHaveProperty(name);
        expect(condition).toBe("service_healthy");
      }
    }
  });

  test("the servers' addresses are the ones the proxy's configuration names, and they know the proxy's", () => {
    const text = read("docker/codomain.yaml");
    for (const name of ["east", "west"]) {
      expect(text).toContain(`${name}: { uri: "sip:${address(name)}:5060" }`);
      expect(compose.services[name]?.environment?.["LISTEN"]).toBe(`${address(name)}:5060`);
      expect(compose.services[name]?.environment?.["PROXY"]).toBe(`${address("codomain")}:5060`);
    }
    expect(text).toContain(`@${address("postgres")}:5432/`);
    expect(text).toContain(`udp://${address("codomain")}:5060`);
  });

  test("ports are published on loopback only", () => {
    for (const port of compose.services["codomain"]?.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
  });
});

describe("docker/compose.exclusive.yaml", () => {
  const over = parse(read("docker/compose.exclusive.yaml")) as { services: Record<string, Partial<Service>> };
  const compose = parse(read("docker/compose.yaml"), { merge: true }) as { services: Record<string, Service> };

  test("changes services that are there, and mounts a configuration that names them by the same addresses", () => {
    for (const name of Object.keys(over.services)) expect(compose.services).toHaveProperty(name);
    const mounted = read("docker/exclusive.yaml");
    for (const name of ["east", "west"]) {
      expect(over.services[name]?.environment?.["MODEL"]).toBe("exclusive");
      expect(mounted).toContain(`${name}: { uri: "sip:${compose.services[name]?.networks.sip.ipv4_address}:5060"`);
    }
  });
});

test.each(["docker/codomain.yaml", "docker/exclusive.yaml"])(
  "%s is a configuration without faults or warnings",
  (file) => {
    const loaded = loadConfig(read(file), { env: { POSTGRES_PASSWORD: "p", CODOMAIN_TOKEN: "t" } });
    expect(loaded).not.toHaveProperty("faults");
    expect(loaded.config?.servers.map((server) => server.name)).toEqual(["east", "west"]);
  },
);

test("the start script of the Kamailio image may be run", () => {
  expect(statSync(`${ROOT}docker/kamailio/start`).mode & 0o111).toBe(0o111);
});
