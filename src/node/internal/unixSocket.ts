/**
 * Socket files. A server binds in a directory that only its user can enter, gives the file its owner and mode there, and
 * links it to its place when all is right: nobody ever sees it otherwise, and the umask, which belongs to the whole
 * process, plays no part.
 *
 * This also keeps Node from removing a successor's file: when a server closes, libuv unlinks the path it was bound to,
 * whoever that belongs to by then. Here that is the name in the private directory, gone long ago.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { InvalidValue } from "../../InvalidValue.ts"
import { ListenError } from "../../MilterServer.ts"
import { attempt, fromSystem } from "./listenError.ts"
import { numberOf } from "./owner.ts"

export interface Access {
  readonly mode: number
  readonly owner: string | number | undefined
  readonly group: string | number | undefined
}

/** Removes the file if it is still this server's. To be called while the socket is open, and never again. */
export type Remove = () => void

// sun_path with its NUL; Linux has the most room.
const longestPath = 107

/** Puts a server's socket in its place. `bind` makes it listen on a path. */
export const listen = Effect.fnUntraced(function*(
  address: string,
  path: string,
  access: Access,
  bind: (path: string) => Effect.Effect<void, ListenError>
): Effect.fn.Return<Remove, ListenError> {
  const length = Buffer.byteLength(path)
  if (length > longestPath) {
    const cause = new InvalidValue({
      what: "path of a socket",
      value: path,
      reason: `${length} bytes, of ${longestPath}`
    })
    return yield* new ListenError({ address, reason: "InvalidAddress", cause })
  }
  const owner = yield* numberOf(address, "owner", access.owner)
  const group = yield* numberOf(address, "group", access.group)
  yield* removeStale(address, path)
  const directory = yield* attempt(address, () => Fs.mkdtempSync(privateDirectory(path)))
  const bound = Path.join(directory, "s")
  return yield* bind(bound).pipe(
    Effect.andThen(attempt(address, () => {
      // By these names, which nobody else can touch: root must not change what a foreign symbolic link leads to.
      Fs.chmodSync(bound, access.mode)
      Fs.chownSync(bound, owner, group)
      const own = Fs.lstatSync(bound, { bigint: true })
      // A link and not a rename: it fails if another server has got there first.
      Fs.linkSync(bound, path)
      return () => remove(path, own)
    })),
    Effect.ensuring(Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true })))
  )
})

/** `/run/filter.sock.x7Gj2k`: what `ss -xl` shows begins with the path itself, unless that leaves no room. */
const privateDirectory = (path: string): string =>
  Buffer.byteLength(path) + ".XXXXXX/s".length <= longestPath ? `${path}.` : `${Path.dirname(path)}/.`

/** While the socket is open no other file can have its inode. */
const remove = (path: string, own: Fs.BigIntStats): void => {
  try {
    const found = Fs.lstatSync(path, { bigint: true })
    if (found.dev === own.dev && found.ino === own.ino) Fs.unlinkSync(path)
  } catch {
    // Gone already, or no permission any more: a file that nobody listens on harms nobody and the next server removes it.
  }
}

/** Fails unless the path is free. A socket file without a listener refuses connections; only such a one is removed. */
const removeStale = Effect.fnUntraced(function*(address: string, path: string): Effect.fn.Return<void, ListenError> {
  const look = attempt(address, () => Fs.lstatSync(path, { bigint: true, throwIfNoEntry: false }))
  const found = yield* look
  if (found === undefined) return
  if (!found.isSocket()) return yield* new ListenError({ address, reason: "NotASocket", cause: undefined })
  const refused = yield* probe(path)
  switch (refused?.code) {
    case "ECONNREFUSED": {
      const now = yield* look
      // Somebody else may have cleaned up and begun to listen since; inode numbers are soon used again.
      const same = now?.dev === found.dev && now.ino === found.ino && now.ctimeNs === found.ctimeNs
      if (same) yield* attempt(address, () => Fs.unlinkSync(path))
      return
    }
    case "ENOENT":
      return
    case undefined: // it answers
    case "EAGAIN": // it is too busy to
    case "EPROTOTYPE": // it is a datagram socket
      return yield* new ListenError({ address, reason: "AddressInUse", cause: refused })
    default:
      return yield* fromSystem(address, refused)
  }
})

const probe = (path: string): Effect.Effect<NodeJS.ErrnoException | undefined> =>
  Effect.callback((resume) => {
    const socket = Net.connect({ path })
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.succeed(undefined))
    })
    socket.once("error", (error) => resume(Effect.succeed(error)))
  })
