import { createReadStream, statSync } from "node:fs";
import { UsageError } from "../base/errors.ts";
import { CsvReader, type CsvRecord } from "./csv.ts";

const READ_BYTES = 256 * 1024;

export interface CsvFile {
  /** Octets. */
  readonly size: number;
  /** Octets read so far. */
  readonly read: number;
  records(): AsyncGenerator<CsvRecord>;
}

/** A file of CSV records, read as it goes. @throws UsageError where it cannot be read. */
export function openCsv(path: string): CsvFile {
  const size = sizeOf(path);
  let read = 0;
  return {
    size,
    get read() {
      return read;
    },
    async *records() {
      const csv = new CsvReader();
      const decoder = new TextDecoder("utf-8");
      const stream = createReadStream(path, { highWaterMark: READ_BYTES });
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        read += chunk.length;
        yield* csv.push(decoder.decode(chunk, { stream: true }));
      }
      yield* csv.push(decoder.decode());
      yield* csv.end();
    },
  };
}

function sizeOf(path: string): number {
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) throw new UsageError(`${path} is a directory: name a CSV file.`);
    return stat.size;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`${path} cannot be read (${code}): name another file.`, { cause: error });
  }
}

/** One cell for CSV output (RFC 4180). */
export function csvCell(value: string | number | null): string {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
