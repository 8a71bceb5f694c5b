/** What the tests of audits share: a run of their own, the audit of it, and ways to change what it left. */
import { beforeEach, expect } from 'vitest';
import { auditRun } from '../../src/audit/audit.js';
import type { Audit, Check } from '../../src/audit/audit-data.js';
import type { HistoryFacts } from '../../src/audit/history.js';
import type { SignedTip } from '../../src/audit/signature.js';
import { decodeRecord, encodeRecord, recordDigest } from '../../src/domain/ledger/chain.js';
import type { LedgerRecord } from '../../src/domain/ledger/records.js';
import { ledgerRecordUrl } from '../../src/contracts/layout.js';
import type { ObjectStore } from '../../src/store/index.js';
import type { TestS3 } from '../support/s3-server.js';
import { writeRun } from './audited-run.js';
import type { AuditedRun, ChainWriter } from './audited-run.js';
import { useS3Server } from './support.js';

/** Nobody to ask for the history. */
export const NO_SERVER = { unavailable: 'no server' };

/** The run under test, new in each test. */
export class RunUnderAudit {
  constructor(
    readonly server: TestS3,
    readonly store: ObjectStore,
    readonly run: AuditedRun,
  ) {}

  /** Audits it, from another store or prefix if asked for. */
  async audit(
    level: Audit['level'] = 'full',
    facts: HistoryFacts | { readonly unavailable: string } = NO_SERVER,
    from: { readonly store?: ObjectStore; readonly runUrl?: string; readonly signed?: SignedTip } = {},
  ): Promise<Audit> {
    const { store = this.store, runUrl = this.run.runUrl, signed } = from;
    return auditRun({ store, runUrl, level, signed, history: () => Promise.resolve(facts) });
  }

  /** "check: object below the run message", of every difference. */
  differences({ checks }: Audit): string[] {
    return checks.flatMap(({ name, differences: found }) =>
      found.map(({ object, message }) => `${name}: ${object.replace(`${this.run.runUrl}/`, '')} ${message}`),
    );
  }

  /** Every record of a chain from one on, changed and chained again: consistent in itself. */
  async rewrite(
    chain: ChainWriter,
    from: number,
    change: (record: LedgerRecord) => LedgerRecord,
  ): Promise<void> {
    const url = (index: number): string => ledgerRecordUrl(chain.url, index);
    const read = async (index: number): Promise<Uint8Array> => (await this.store.get(url(index))).data;
    let previous = from === 1 ? null : recordDigest(await read(from - 1));
    for (let index = from; index <= chain.tip.records; index += 1) {
      const record = decodeRecord(await read(index));
      if (typeof record === 'string') throw new Error(record);
      const bytes = encodeRecord({ ...(index === from ? change(record) : record), previous });
      await this.store.put(url(index), bytes);
      previous = recordDigest(bytes);
    }
  }

  /** Replaces a text in an object. */
  async edit(url: string, from: string, to: string): Promise<void> {
    const text = new TextDecoder().decode((await this.store.get(url)).data);
    expect(text).toContain(from);
    await this.store.put(url, new TextEncoder().encode(text.replace(from, to)));
  }
}

/** A run for each test, on one server per file. */
export function useRunUnderAudit(): { readonly current: RunUnderAudit } {
  const server = useS3Server();
  let current: RunUnderAudit | undefined;
  beforeEach(async () => {
    const store = server.current.connect();
    current = new RunUnderAudit(server.current, store, await writeRun(store));
  });
  return {
    get current(): RunUnderAudit {
      if (current === undefined) throw new Error('there is a run only while a test runs');
      return current;
    },
  };
}

/** A check by its name. */
export function checkNamed({ checks }: Audit, name: string): Check {
  const check = checks.find((one) => one.name === name);
  if (check === undefined) throw new Error(`no check ${name}`);
  return check;
}
