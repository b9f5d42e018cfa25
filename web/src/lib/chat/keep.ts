// Conversations in the browser (IndexedDB), each user's apart.  Where nothing can be kept they last as long as the page.
import type { Conversation } from "./types";

const NAME = "tesela";
const STORE = "conversations";

/** What is kept of a conversation, with its owner. */
interface Kept {
  key: string;
  user: string;
  conversation: Conversation;
}

export interface Keeper {
  /** The newest first.  The messages come with them. */
  all(): Promise<Conversation[]>;
  /** Calls back when another window of the user's has saved or removed a conversation. */
  watch(changed: (id: string) => void): void;
  /** Rejects when there is no room. */
  save(conversation: Conversation): Promise<void>;
  remove(id: string): Promise<void>;
}

export async function open(user: string): Promise<Keeper> {
  try {
    return new Database(await opened(), user);
  } catch {
    return new Memory();
  }
}

function opened(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore(STORE, { keyPath: "key" }).createIndex("user", "user");
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error ?? new Error("IndexedDB"));
    asked.onblocked = () => reject(new Error("IndexedDB"));
  });
}

class Database implements Keeper {
  /** Hears what other windows tell, and not what it tells itself. */
  private readonly windows: BroadcastChannel;

  constructor(
    private readonly database: IDBDatabase,
    private readonly user: string,
  ) {
    this.windows = new BroadcastChannel(`${NAME}.${STORE}.${user}`);
  }

  watch(changed: (id: string) => void): void {
    this.windows.onmessage = (event: MessageEvent<string>) => changed(event.data);
  }

  async all(): Promise<Conversation[]> {
    const store = this.database.transaction(STORE).objectStore(STORE);
    const found = await settled<Kept[]>(store.index("user").getAll(this.user));
    return found.map((one) => one.conversation).sort((a, b) => b.updated - a.updated);
  }

  async save(conversation: Conversation): Promise<void> {
    const kept: Kept = { key: `${this.user}/${conversation.id}`, user: this.user, conversation };
    await settled(this.database.transaction(STORE, "readwrite").objectStore(STORE).put(kept));
    this.windows.postMessage(conversation.id);
  }

  async remove(id: string): Promise<void> {
    await settled(this.database.transaction(STORE, "readwrite").objectStore(STORE).delete(`${this.user}/${id}`));
    this.windows.postMessage(id);
  }
}

class Memory implements Keeper {
  private readonly kept = new Map<string, Conversation>();
  watch(): void {
    // No other window sees this one's memory.
  }
  async all(): Promise<Conversation[]> {
    return [...this.kept.values()].sort((a, b) => b.updated - a.updated);
  }
  async save(conversation: Conversation): Promise<void> {
    this.kept.set(conversation.id, conversation);
  }
  async remove(id: string): Promise<void> {
    this.kept.delete(id);
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    // A full disk is told by the transaction, after the request itself was taken.
    const transaction = request.transaction;
    // Without waiting for anything: a page that is left right now aborts what has not been committed.
    if (transaction?.mode === "readwrite") transaction.commit();
    request.onerror = () => reject(request.error ?? new Error("IndexedDB"));
    if (transaction) {
      transaction.onabort = () => reject(transaction.error ?? new Error("IndexedDB"));
      transaction.oncomplete = () => resolve(request.result);
    } else {
      request.onsuccess = () => resolve(request.result);
    }
  });
}
