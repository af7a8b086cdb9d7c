/** Everything relational of a node, and what follows its changes. */
import { dirname, join } from "node:path";
import type { Clock } from "../runtime/clock.ts";
import { InvalidError } from "../runtime/errors.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Random } from "../runtime/random.ts";
import { KeyRotation } from "./access/key_rotation.ts";
import { ApiKeys } from "./access/api_keys.ts";
import { PasswordHasher } from "./access/password.ts";
import { Sessions } from "./access/sessions.ts";
import { Users } from "./access/users.ts";
import { type Audit, AuditHook, createAudit } from "./audit/audit.ts";
import { type ChangesFollower, startChangesFollower } from "./device/changes.ts";
import { startCredentialSweep } from "./device/credential_sweep.ts";
import { createDeviceDirectory, type RegistryDirectory } from "./device/device_directory.ts";
import { createDeviceStandings, type DeviceStandings } from "./device/device_standing.ts";
import { DeviceTokens } from "./device/device_tokens.ts";
import { DeviceRegistry } from "./device/registry.ts";
import { JobFiles } from "./job/job_files.ts";
import { Jobs } from "./job/jobs.ts";
import { Groups } from "./group/groups.ts";
import { startProjectRemovals } from "./project/project_removals.ts";
import { Projects } from "./project/projects.ts";
import { Products } from "./product/products.ts";
import { startAnswerSweep } from "./registry/answer_sweep.ts";
import { KeptAnswers } from "./registry/kept_answers.ts";
import { type KeySource, openKeyring } from "./registry/master_keys.ts";
import { openRegistryStore, type RegistryStore } from "./registry/registry_store.ts";

export interface Registry extends AsyncDisposable {
  readonly store: RegistryStore;
  readonly changes: ChangesFollower;
  readonly directory: RegistryDirectory;
  readonly standings: DeviceStandings;
  /** Random password of the owner, if it was made just now: known to nobody else. */
  readonly ownerPassword: string | undefined;
  readonly projects: Projects;
  readonly users: Users;
  readonly products: Products;
  readonly devices: DeviceRegistry;
  readonly groups: Groups;
  readonly tokens: DeviceTokens;
  readonly masterKeys: KeyRotation;
  readonly sessions: Sessions;
  readonly keys: ApiKeys;
  readonly jobs: Jobs;
  readonly jobFiles: JobFiles;
  readonly answers: KeptAnswers;
  readonly audit: Audit;
}

export interface RegistryOptions {
  /** Of `registry.db`. */
  readonly path: string;
  readonly masterKeys: KeySource;
  /** Of the owner, at the first start. Default: a random one. */
  readonly ownerPassword?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const POLL_MS = 1_000;

/**
 * @throws {InvalidError} The owner's password is none.
 * @throws {ConflictError} The master key is not the one of this data.
 */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const { clock, random, logger } = options;
  await using resources = new AsyncDisposableStack();
  const hook = new AuditHook();
  const { beforeCommit } = hook;
  const { path } = options;
  const store = resources.use(await openRegistryStore({ path, clock, logger, beforeCommit }));
  const source = options.masterKeys;
  const keyring = await openKeyring({ store, source, random, logger, nowMs: clock.nowMs() });
  const audit = createAudit({ store, clock, keyring });
  hook.log = audit.log;
  const changes = resources.use(startChangesFollower({ store, clock, logger, pollMs: POLL_MS }));
  const directory = resources.use(
    createDeviceDirectory({ reader: store.reader, changes, clock, logger }),
  );
  const removals = resources.use(startProjectRemovals({ store, changes, clock, logger }));
  resources.use(startCredentialSweep({ store, changes, clock, logger }));
  const passwords = new PasswordHasher(random);
  const users = new Users({ store, clock, random, passwords });
  const owner = await users.ensureOwner(options.ownerPassword);
  if (!owner.ok) throw new InvalidError(`Cannot make the owner: ${owner.message}`, owner.issues);
  const masterKeys = resources.use(
    new KeyRotation({ store, keyring, source, clock, random, logger }),
  );
  const answers = new KeptAnswers({ store, clock, random });
  resources.use(startAnswerSweep({ answers, clock, logger }));
  const opened = resources.move();
  return {
    store,
    changes,
    directory,
    standings: createDeviceStandings(store.reader, directory),
    ownerPassword: owner.value.password,
    projects: new Projects({ store, clock, users, onDeleted: () => removals.wake() }),
    users,
    products: new Products({ store, clock, changes }),
    devices: new DeviceRegistry({ store, clock, random, changes, keyring }),
    groups: new Groups({ store, clock, random }),
    masterKeys,
    tokens: new DeviceTokens({ reader: store.reader, keyring, clock }),
    sessions: new Sessions({ store, clock, random, passwords }),
    keys: new ApiKeys({ store, clock, random }),
    jobs: new Jobs({ store, clock, random }),
    jobFiles: new JobFiles({ path: join(dirname(options.path), "jobs") }),
    answers,
    audit,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
