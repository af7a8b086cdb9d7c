import assert from "node:assert/strict";
import { csvOf } from "./csv.ts";

Deno.test("a cell is quoted where it must be, and none is a formula", () => {
  const columns = [{ title: "Name", text: (row: string) => row }];
  const rows = ["plain", 'a "b", c', "=1+1", "+49 30", "-5", "-5.25", "@x", "-x", "two\nlines"];
  assert.equal(
    csvOf(columns, rows),
    'Name\r\nplain\r\n"a ""b"", c"\r\n\'=1+1\r\n\'+49 30\r\n-5\r\n-5.25\r\n\'@x\r\n\'-x\r\n"two\nlines"\r\n',
  );
});
