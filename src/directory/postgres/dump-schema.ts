import type pg from "pg";

/**
 * What the migrations have made of the schema `codomain`, read from the catalog: for review, and to be compared in a
 * test. There is no pg_dump among the embedded programs. Not meant to be run.
 */
export async function dumpSchema(client: pg.ClientBase): Promise<string> {
  const parts = [
    "-- Made from the catalog by tools/schema-dump.ts; compared in test/directory/postgres-migrate.test.ts.\n",
  ];
  await client.query("select set_config('search_path', '', false)");
  const tables = await client.query<{ name: string; options: string | null }>(TABLES);
  for (const table of tables.rows) {
    const columns = await client.query<{ line: string }>(COLUMNS, [table.name]);
    const constraints = await client.query<{ line: string }>(CONSTRAINTS, [table.name]);
    const lines = [...columns.rows, ...constraints.rows].map((row) => `  ${row.line}`);
    const options = table.options === null ? "" : ` with (${table.options})`;
    parts.push(`create table codomain.${table.name} (\n${lines.join(",\n")}\n)${options};\n`);
    const indexes = await client.query<{ line: string }>(INDEXES, [table.name]);
    if (indexes.rows.length > 0) parts.push(`${indexes.rows.map((row) => `${row.line};`).join("\n")}\n`);
  }
  const views = await client.query<{ name: string; text: string }>(VIEWS);
  for (const view of views.rows) {
    // Version 15 names the table before every column, 18 does not.
    const text = view.text.trimEnd().replace(/\b(?!codomain\b)[a-z_]+\.(?=[a-z_])/g, "");
    parts.push(`create view codomain.${view.name} as\n${text}\n`);
  }
  return parts.join("\n");
}

const TABLES = `
select c.relname as name, array_to_string(c.reloptions, ', ') as options
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'codomain' and c.relkind = 'r'
order by c.relname collate "C"`;

const COLUMNS = `
select concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
  case when a.attcollation <> t.typcollation then 'collate ' || quote_ident(l.collname) end,
  case when a.attnotnull then 'not null' end,
  case when a.attidentity = 'a' then 'generated always as identity' end,
  'default ' || pg_get_expr(d.adbin, d.adrelid)) as line
from pg_attribute a
join pg_type t on t.oid = a.atttypid
left join pg_collation l on l.oid = a.attcollation
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = ('codomain.' || $1)::regclass and a.attnum > 0 and not a.attisdropped
order by a.attnum`;

// Since version 18 a \`not null\` is a constraint of its own: it stands with its column above.
const CONSTRAINTS = `
select pg_get_constraintdef(c.oid) as line
from pg_constraint c
where c.conrelid = ('codomain.' || $1)::regclass and c.contype <> 'n'
order by c.contype, pg_get_constraintdef(c.oid) collate "C"`;

const INDEXES = `
select pg_get_indexdef(i.indexrelid) as line
from pg_index i
where i.indrelid = ('codomain.' || $1)::regclass
  and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
order by pg_get_indexdef(i.indexrelid) collate "C"`;

const VIEWS = `
select c.relname as name, pg_get_viewdef(c.oid) as text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'codomain' and c.relkind = 'v'
order by c.relname collate "C"`;
