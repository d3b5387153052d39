/** Prints the JSON Schema of the configuration: `npx tsx src/config/print-schema.ts > config.schema.json`. */
import { jsonSchema } from "./json-schema.ts";

process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
