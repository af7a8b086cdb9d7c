/** Section `backup` of the configuration: what `deno task backup` and `restore` seal and open with. */
import type { FieldMeta } from "./config_schema.ts";
import { z } from "./schema.ts";

export const BACKUP_SCHEMA = z.strictObject({
  passphrase: z.string().min(12).max(1_024).optional().meta(
    {
      description:
        "Passphrase that backups are sealed with and opened by. `start` has no use for it.",
      unit: "text",
      bounds: "12 to 1024 characters",
      isSecret: true,
    } satisfies FieldMeta,
  ),
  keyFile: z.string().min(1).max(4_096).optional().meta(
    {
      description: "File with 32 random bytes or more, mode 600, to seal with in its place.",
      unit: "path",
      bounds: "1 to 4096 characters",
    } satisfies FieldMeta,
  ),
});
