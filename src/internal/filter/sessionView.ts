/** The macros that one filter of a sequence has asked for, where others have asked for more. */
import { Macros, type MacroStage, type Mta, normalize, stages } from "../../Macros.ts"
import type { Session } from "../../Stage.ts"
import type { ByteString } from "../../Wire.ts"
import type { MacroStore, Visible } from "../protocol/macroStore.ts"

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

  /** It is the same MTA for all, whichever macros tell. */
  override get mta(): Mta {
    return this.store.mta
  }

  entries(): ReadonlyArray<readonly [name: string, value: string]> {
    return this.store.entries(this.visible)
  }

  snapshot(): MacroView {
    return new MacroView(this.store.snapshot(), this.visible)
  }
}

/** The session with the macros that the filter would see if it were alone. */
export const sessionWith = (
  session: Session & { readonly macros: MacroStore },
  asked: { readonly [K in MacroStage]?: ReadonlyArray<string> }
): Session => {
  const visible = stages.map((stage) => {
    const names = asked[stage] ?? []
    return names.length === 0 ? undefined : new Set(names.map(normalize))
  })
  if (visible.every((names) => names === undefined)) return session
  const macros = new MacroView(session.macros, visible)
  return viewOf(session, { macros: { value: macros } })
}

const wholes = new WeakMap<Session, Session>()

/** A session with some of it settled; all else goes on changing. */
export const viewOf = (session: Session, own: PropertyDescriptorMap): Session => {
  const view: Session = Object.create(session, own)
  wholes.set(view, wholeOf(session))
  return view
}

/** The session itself, of whichever view: the same object for all filters. */
export const wholeOf = (session: Session): Session => wholes.get(session) ?? session
