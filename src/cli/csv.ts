/** One record of a CSV file (RFC 4180). */
export interface CsvRecord {
  /** Of the file, from 1: where the record begins. */
  readonly line: number;
  readonly cells: readonly string[];
  /** What is wrong with its form; the cells are not to be used. */
  readonly fault?: string;
}

const LONGEST_RECORD = 64 * 1024;

/**
 * Reads CSV as it comes: commas, quotes doubled inside quotes, CR LF or LF, a byte order mark. Blank lines and lines that begin with # are skipped.
 * A record with a fault in its form is given as such, and reading goes on in the next line. Bounded by the longest record.
 */
export class CsvReader {
  #line = 1;
  #start = 1;
  #cells: string[] = [];
  #cell = "";
  #size = 0;
  /** Where in a record we are. */
  #state: "cell" | "quoted" | "after-quotes" | "skip" = "cell";
  #wasQuoted = false;
  #fault: string | undefined;
  #first = true;

  *push(chunk: string): Generator<CsvRecord> {
    let text = chunk;
    if (this.#first && text !== "") {
      this.#first = false;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    for (const char of text) {
      const record = this.#take(char);
      if (record !== undefined) yield record;
    }
  }

  /** The last record, where no line end follows it. */
  *end(): Generator<CsvRecord> {
    if (this.#state === "quoted") this.#fault = "a quote is opened and not closed";
    const record = this.#endRecord();
    if (record !== undefined) yield record;
  }

  #take(char: string): CsvRecord | undefined {
    if (++this.#size > LONGEST_RECORD && this.#state !== "skip") {
      this.#fault = `the record is longer than ${LONGEST_RECORD} characters`;
      this.#state = "skip";
    }
    if (char === "\n") {
      this.#line++;
      if (this.#state !== "quoted") return this.#endRecord();
      this.#cell += char;
      return undefined;
    }
    if (char === "\r" && this.#state !== "quoted") return undefined;
    switch (this.#state) {
      case "skip":
        break;
      case "quoted":
        if (char === '"') this.#state = "after-quotes";
        else this.#cell += char;
        break;
      case "after-quotes":
        if (char === '"') {
          this.#cell += char;
          this.#state = "quoted";
        } else if (char === ",") this.#endCell();
        else if (char !== " ") this.#skip("text follows a closing quote");
        break;
      case "cell":
        if (char === ",") this.#endCell();
        else if (char !== '"') this.#cell += char;
        else if (this.#cell.trim() === "") {
          this.#cell = "";
          this.#wasQuoted = true;
          this.#state = "quoted";
        } else this.#skip("a quote stands inside a cell that does not begin with one");
        break;
    }
    return undefined;
  }

  #skip(fault: string): void {
    this.#fault = fault;
    this.#state = "skip";
  }

  #endCell(): void {
    this.#cells.push(this.#wasQuoted ? this.#cell : this.#cell.trim());
    this.#cell = "";
    this.#wasQuoted = false;
    this.#state = "cell";
  }

  #endRecord(): CsvRecord | undefined {
    const fault = this.#fault;
    this.#endCell();
    const record = { line: this.#start, cells: this.#cells, ...(fault === undefined ? {} : { fault }) };
    this.#cells = [];
    this.#fault = undefined;
    this.#size = 0;
    this.#start = this.#line;
    const only = record.cells.length === 1 ? record.cells[0]! : undefined;
    const skipped = fault === undefined && (only === "" || record.cells[0]!.startsWith("#"));
    return skipped ? undefined : record;
  }
}
