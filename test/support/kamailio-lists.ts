import { readFileSync } from "node:fs";
import { type Kamailio, type KamailioOptions, startKamailio } from "./kamailio.ts";
import { startTestServer } from "./postgres.ts";

/** A Kamailio whose users have resource lists (RFC 4662), on a PostgreSQL of its own. */
export interface ListServer extends Kamailio {
  /** Gives a user his one list (RFC 4826); all are addresses. */
  list(owner: string, name: string, members: readonly string[]): Promise<void>;
}

export async function startListServer(options: KamailioOptions): Promise<ListServer> {
  const postgres = await startTestServer();
  const database = await postgres.database({ empty: true });
  const stop = async (): Promise<void> => {
    await database.drop();
    await postgres.stop();
  };
  try {
    const client = await database.connect();
    for (const tables of ["standard", "presence", "rls"]) {
      await client.query(readFileSync(`/usr/share/kamailio/postgres/${tables}-create.sql`, "utf8"));
    }
    const kamailio = await startKamailio({ ...options, lists: true, database: database.url });
    return {
      ...kamailio,
      list: async (owner, name, members) => {
        const [user, domain] = owner.split("@");
        const insert = `insert into xcap (username, domain, doc, doc_type, etag, source, doc_uri, port)
          values ($1, $2, $3, 8, '1', 0, $4, 0)`;
        await client.query(insert, [user, domain, services(name, members), `rls-services/${owner}`]);
      },
      stop: async () => {
        await kamailio.stop();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function services(name: string, members: readonly string[]): string {
  const entries = members.map((each) => `<entry uri="sip:${each}"/>`).join("");
  const service = `<service uri="sip:${name}"><list>${entries}</list><packages><package>presence</package></packages></service>`;
  return `<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">${service}</rls-services>`;
}
