/** Shows one filter of a sequence only the macros that it has asked for, where other filters have asked for more. */
import { Macros, type MacroStage, type Mta, normalize, stages } from "../../Macros.ts"
import type { Session } from "../../Stage.ts"
import type { ByteString } from "../bytes/byteString.ts"
import { MacroStore, type Visible } from "../protocol/macroStore.ts"
import type { AnsweredStage } from "../protocol/stageTable.ts"

class MacroView extends Macros {
  private readonly store: MacroStore
  private readonly visible: Visible

  constructor(store: MacroStore, visible: Visible) {
    super()
    this.store = store
    this.visible = visible
  }

  raw(name: string): ByteString | undefined {
    return this.store.raw(name, this.visible)
  }

  /** The MTA is the same for all filters, even if the macros that reveal it are hidden from this one. */
  override get mta(): Mta {
    return this.store.mta
  }

  entries(): ReadonlyArray<readonly [name: string, value: string]> {
    return this.store.entries(this.visible)
  }

  ofStage(stage: AnsweredStage): ReturnType<MacroStore["ofStage"]> {
    return this.store.ofStage(stage, this.visible)
  }

  snapshot(): MacroView {
    return new MacroView(this.store.snapshot(), this.visible)
  }
}

/** The macros that a filter would see if it were alone; undefined if it has asked for none, and so sees all. */
export const visibleTo = (asked: { readonly [K in MacroStage]?: ReadonlyArray<string> }): Visible | undefined => {
  const visible = stages.map((stage) => {
    const names = asked[stage] ?? []
    return names.length === 0 ? undefined : new Set(names.map(normalize))
  })
  return visible.every((names) => names === undefined) ? undefined : visible
}

/** Gives the session with these macros only. */
export const sessionWith = (
  session: Session & { readonly macros: MacroStore },
  visible: Visible | undefined
): Session => {
  if (visible === undefined) return session
  const macros = new MacroView(session.macros, visible)
  return viewOf(session, { macros: { value: macros } })
}

const wholes = new WeakMap<Session, Session>()

/** Makes a view of a session with some fixed properties; all others stay live. */
export const viewOf = (session: Session, own: PropertyDescriptorMap): Session => {
  const view: Session = Object.create(session, own)
  wholes.set(view, wholeOf(session))
  return view
}

/** The session that a view is of: the same object for all filters. */
export const wholeOf = (session: Session): Session => wholes.get(session) ?? session

/** What came for one stage as the filter sees it, with the bytes of the wire. */
export const macrosOfStage = ({ macros }: Session, stage: AnsweredStage): ReturnType<MacroStore["ofStage"]> =>
  macros instanceof MacroStore || macros instanceof MacroView ? macros.ofStage(stage) : []

/** The session of the engine, which knows how long the answer to the present command may take. */
interface Timed extends Session {
  readonly answerBy: number | undefined
}

/** When the answer to the present command is due, in milliseconds of the server's clock; undefined if no MTA waits. */
export const answerBy = (session: Session): number | undefined =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- undefined for a session that is not the engine's
  (session as Timed).answerBy
