/** Joins two connections: bytes pass unchanged, and frames are reported on the way. */
import * as Frame from "../../Frame.ts"
import type { Transport } from "../../internal/net/transport.ts"

export type Side = "mta" | "filter"

export interface Watcher {
  readonly frame: (from: Side, frame: Frame.Frame) => void
  /** Bytes that are not a frame; no more frames of this side are looked for afterwards. */
  readonly junk: (from: Side, bytes: Uint8Array) => void
  /** The side that closed first, in order or with an error. */
  readonly closed: (by: Side, error: unknown) => void
}

/**
 * Passes on everything between an MTA and a filter until both are closed. Invalid bytes pass too. A side that does not read
 * holds the other side up, as if they were connected directly.
 */
export const relay = (mta: Transport, filter: Transport, watcher: Watcher): void => {
  let isOpen = true
  const connect = (from: Side, near: Transport, far: Transport): void => {
    const watch = watching(from, watcher)
    const over = (error: unknown): void => {
      if (isOpen) watcher.closed(from, error)
      isOpen = false
      if (error === undefined) far.close()
      else far.destroy()
    }
    near.open({
      data: (chunk) => {
        watch(chunk)
        if (!far.write(chunk)) near.pause()
      },
      end: () => over(undefined),
      drain: () => far.resume(),
      closed: over
    })
  }
  connect("mta", mta, filter)
  connect("filter", filter, mta)
}

const watching = (from: Side, watcher: Watcher): (chunk: Uint8Array) => void => {
  const decoder = Frame.makeDecoder()
  let isFramed = true
  let received = 0
  return (chunk) => {
    if (!isFramed) return watcher.junk(from, chunk)
    const frames: Array<Frame.Frame> = []
    const error = decoder.push(chunk, frames)
    for (const frame of frames) watcher.frame(from, frame)
    if (error !== undefined) {
      isFramed = false
      watcher.junk(from, chunk.subarray(Math.max(0, error.offset - received)))
    }
    received += chunk.length
  }
}
