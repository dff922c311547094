/**
 * Learning that another process has written to the database, without asking all the time: each commit there writes to
 * its `-wal` file, of which the system tells. Where it can't tell (no inotify watches left, a network file system), and
 * for what happens between two looks, it is looked at every second as well; all of it only while something waits.
 */
import { watch, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';
import { MEMORY } from '../state/database.js';

const LOOK_INTERVAL_MS = 1_000;

/**
 * Call `look` whenever the database may have changed, never while a call of it is under way.
 * @param look must not reject
 * @returns stops it
 */
export function onChange(databasePath: string, look: () => Promise<void>): () => void {
  const state = { stopped: false, looking: false, again: false };
  const lookOn = async (): Promise<void> => {
    while (state.again && !state.stopped) {
      state.again = false;
      await look();
    }
    state.looking = false;
  };
  const changed = (): void => {
    state.again = true;
    if (state.looking || state.stopped) return;
    state.looking = true;
    void lookOn();
  };
  const timer = setInterval(changed, LOOK_INTERVAL_MS);
  let watcher: FSWatcher | null = null;
  if (databasePath !== MEMORY) {
    const name = basename(databasePath);
    try {
      watcher = watch(dirname(databasePath), (_event, file) => {
        if (file === null || file.startsWith(name)) changed();
      });
      watcher.on('error', () => undefined);
    } catch {
      // The timer does.
    }
  }
  return () => {
    state.stopped = true;
    clearInterval(timer);
    watcher?.close();
  };
}
