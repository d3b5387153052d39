import { describe, expect, it } from "vitest";
import { CsvReader, type CsvRecord } from "../../src/cli/csv.ts";
import { fc } from "../support/fast-check.ts";

function read(...chunks: readonly string[]): CsvRecord[] {
  const reader = new CsvReader();
  return [...chunks.flatMap((chunk) => [...reader.push(chunk)]), ...reader.end()];
}

const cells = (text: string): (readonly string[])[] => read(text).map((record) => record.cells);

describe("CSV (RFC 4180)", () => {
  it("reads cells, quotes, line ends of both kinds, and the last line without one", () => {
    expect(cells('a,b\r\n"c,1","say ""hi"""\n,\nlast')).toEqual([["a", "b"], ["c,1", 'say "hi"'], ["", ""], ["last"]]);
  });

  it("a quoted cell may hold line ends; the record is told by the line where it begins", () => {
    expect(read('a\n"b\nc"\nd')).toEqual([
      { line: 1, cells: ["a"] },
      { line: 2, cells: ["b\nc"] },
      { line: 4, cells: ["d"] },
    ]);
  });

  it("blank lines, notes and the byte order mark are no records", () => {
    expect(cells("\uFEFFa\n\n  \n# note, with comma\nb\n")).toEqual([["a"], ["b"]]);
  });

  it.each([
    ['a"b,c\nnext', "a quote stands inside a cell"],
    ['"a"b,c\nnext', "text follows a closing quote"],
    [`${"x".repeat(70_000)}\nnext`, "longer than"],
  ])("%.12s… is a fault of its own record only", (text, fault) => {
    const records = read(text);
    expect(records[0]?.fault).toContain(fault);
    expect(records.slice(1)).toEqual([{ line: 2, cells: ["next"] }]);
  });

  it("a quote that is never closed is told at the end", () => {
    expect(read('a\n"b,c\nd')).toMatchObject([{ line: 1 }, { line: 2, fault: "a quote is opened and not closed" }]);
  });

  it("an endless quoted cell is held no longer than the longest record, and read to its line's end", () => {
    const reader = new CsvReader();
    for (let i = 0; i < 50; i++)
      expect([...reader.push(i === 0 ? `"${"x".repeat(9999)}` : "x".repeat(10_000))]).toEqual([]);
    const records = [...reader.push("\nnext\n"), ...reader.end()];
    expect(records.map((record) => record.fault !== undefined)).toEqual([true, false]);
    expect(records[0]!.cells.join("").length).toBeLessThan(70_000);
  });

  it("what was printed is read back, however it is cut into chunks", () => {
    const cell = fc.string({ unit: fc.constantFrom("a", ",", '"', "\n", "\r", " ", "#", "ü"), maxLength: 8 });
    const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
    fc.assert(
      fc.property(
        fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 5 }),
        fc.array(fc.nat(200), { maxLength: 8 }),
        (records, cuts) => {
          fc.pre(records.every((record) => !record[0]!.startsWith("#")));
          const text = records.map((record) => record.map(quoted).join(",")).join("\r\n");
          const at = [0, ...cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b), text.length];
          const chunks = at.slice(1).map((end, i) => text.slice(at[i], end));
          expect(read(...chunks).map((record) => record.cells)).toEqual(records);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("whatever comes in, every record has a line of its own and reading ends", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", ",", '"', "\n", "\r"), maxLength: 60 }), (text) => {
        const lines = read(text).map((record) => record.line);
        expect(lines).toEqual([...new Set(lines)].sort((a, b) => a - b));
        expect(lines.at(-1) ?? 1).toBeLessThanOrEqual(text.split("\n").length);
      }),
      { numRuns: 300 },
    );
  });
});
