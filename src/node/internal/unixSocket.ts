/**
 * Socket files. A server binds in a directory that only its user can enter, gives the file its owner and mode there, and
 * links it to its place when all is right: nobody ever sees it otherwise, and the umask, which belongs to the whole
 * process, plays no part.
 *
 * The directory stands beside the socket's place, since links do not reach other file systems. Where another user may write
 * there, that user can rename the directory and put a link of the same name in its place at any moment; a server of root
 * would then change owner and mode of whatever the link leads to. So the directory is opened once, looked at, and from then
 * on reached by its descriptor.
 *
 * This also keeps Node from removing a successor's file: when a server closes, libuv unlinks the path it was bound to,
 * whoever that belongs to by then. Here that is a name in the private directory, which is gone, and whose descriptor stays
 * open for that long so that its number cannot be that of another directory.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
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

/** A directory of its own for each socket. */
export interface PrivateDirectory {
  /** As others see it, until it is removed or renamed. */
  readonly path: string
  /** Where to bind. */
  readonly bound: string
}

/** Makes the directory for a socket; its descriptor is open until the scope closes, which must be after the server has closed. */
export const privateDirectory = Effect.fnUntraced(function*(
  address: string,
  path: string
): Effect.fn.Return<PrivateDirectory, ListenError, Scope.Scope> {
  const length = Buffer.byteLength(path)
  if (length > longestPath) {
    const cause = new InvalidValue({
      what: "path of a socket",
      value: path,
      reason: `${length} bytes, of ${longestPath}`
    })
    return yield* new ListenError({ address, reason: "InvalidAddress", cause })
  }
  if (!hasDescriptorPaths) yield* checkParent(address, Path.dirname(path))
  const directory = yield* Effect.acquireRelease(
    attempt(address, () => Fs.mkdtempSync(directoryPrefix(path))),
    (directory) => Effect.sync(() => removeDirectory(directory))
  )
  const descriptor = yield* Effect.acquireRelease(
    attempt(address, () => Fs.openSync(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)),
    (descriptor) => Effect.sync(() => Fs.closeSync(descriptor))
  )
  const { mode, uid } = yield* attempt(address, () => Fs.fstatSync(descriptor))
  if (uid !== process.geteuid!() || (mode & 0o777) !== 0o700) return yield* exchanged(address, directory)
  return { path: directory, bound: Path.join(hasDescriptorPaths ? `/proc/self/fd/${descriptor}` : directory, "s") }
})

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = Fs.constants

/** Linux, with /proc. */
const hasDescriptorPaths = process.platform === "linux" && Fs.existsSync("/proc/self/fd")

const exchanged = (address: string, directory: string) => {
  const cause = new Error(`another user has put something else in the place of ${directory}`)
  return new ListenError({ address, reason: "PermissionDenied", cause })
}

/** Fails if other users can rename what is in a directory: where it is sticky, they cannot. */
export const checkParent = Effect.fnUntraced(function*(
  address: string,
  directory: string
): Effect.fn.Return<void, ListenError> {
  const { mode, uid } = yield* attempt(address, () => Fs.statSync(directory))
  const isOurs = uid === 0 || uid === process.geteuid!()
  const isSticky = (mode & 0o1000) !== 0
  if (isOurs && (isSticky || (mode & 0o022) === 0)) return
  const cause = new Error(
    `other users can write to ${directory}, and could exchange the socket while it is made: put it in a directory that only ` +
      "the user of this process can write to"
  )
  return yield* new ListenError({ address, reason: "PermissionDenied", cause })
})

/** A socket in its private directory, and the effect that puts the file in its place. */
export interface Prepared {
  readonly publish: Effect.Effect<Remove, ListenError>
}

/** Makes a socket in its private directory, with its owner and mode. `bind` binds it to a path. */
export const prepare = Effect.fnUntraced(
  function*(
    address: string,
    path: string,
    access: Access,
    { bound, path: directory }: PrivateDirectory,
    bind: (path: string) => Effect.Effect<void, ListenError>
  ): Effect.fn.Return<Prepared, ListenError> {
    const owner = yield* numberOf(address, "owner", access.owner)
    const group = yield* numberOf(address, "group", access.group)
    yield* removeStale(address, path)
    yield* bind(bound)
    yield* attempt(address, () => {
      Fs.chmodSync(bound, access.mode)
      Fs.lchownSync(bound, owner, group)
    }).pipe(Effect.onError(() => Effect.sync(() => Fs.unlinkSync(bound))))
    const publish = attempt(address, () => {
      try {
        const own = Fs.lstatSync(bound, { bigint: true })
        // A link and not a rename: it fails if another server has got there first.
        Fs.linkSync(bound, path)
        return () => remove(path, own)
      } finally {
        Fs.unlinkSync(bound)
        removeDirectory(directory)
      }
    })
    return { publish }
  },
  (effect, _address, _path, _access, { path }) => Effect.onError(effect, () => Effect.sync(() => removeDirectory(path)))
)

/** Puts a server's socket in its place. `bind` makes it listen on a path. */
export const listen = (...made: Parameters<typeof prepare>): Effect.Effect<Remove, ListenError> =>
  Effect.flatMap(prepare(...made), ({ publish }) => publish)

/** It is empty. What another user has put in its place stays unless that is an empty directory, too. */
const removeDirectory = (directory: string): void => {
  try {
    Fs.rmdirSync(directory)
  } catch {
    // Removed before, or renamed.
  }
}

/** `/run/filter.sock.x7Gj2k`, unless that leaves no room where the path of the directory is bound. */
const directoryPrefix = (path: string): string =>
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
