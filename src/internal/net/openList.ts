/**
 * The open ones of things that open and close all the time, in the order of their opening. Not a Set: V8 links each table
 * that a Set has outgrown to the next one, so a table that has got old keeps all members that came later, with all they hold,
 * until the next full collection.
 */

/** Where a value stands in its list. */
class Place<A> {
  readonly value: A
  before: Place<A> | undefined
  after: Place<A> | undefined

  constructor(value: A, before: Place<A> | undefined) {
    this.value = value
    this.before = before
  }
}

export type { Place }

export class OpenList<A> {
  private head: Place<A> | undefined
  private tail: Place<A> | undefined
  private _size = 0

  get size(): number {
    return this._size
  }

  /** The one that opened first. */
  get oldest(): A | undefined {
    return this.head?.value
  }

  /** All that are open now. The array stays as it is when they close. */
  get values(): ReadonlyArray<A> {
    const values: Array<A> = []
    for (let place = this.head; place !== undefined; place = place.after) values.push(place.value)
    return values
  }

  add(value: A): Place<A> {
    const place = new Place(value, this.tail)
    if (this.tail === undefined) this.head = place
    else this.tail.after = place
    this.tail = place
    this._size++
    return place
  }

  /** Takes out what stands at a place of this list. Called once for a place. */
  remove(place: Place<A>): void {
    const { after, before } = place
    if (before === undefined) this.head = after
    else before.after = after
    if (after === undefined) this.tail = before
    else after.before = before
    // What has got old and is dead must not keep its neighbours.
    place.before = place.after = undefined
    this._size--
  }
}
