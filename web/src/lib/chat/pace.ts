// How often what has come of a stream is looked at: the eye sees no more, and the page has other things to do.

export class Pace {
  #looked = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `look` is called at most once in so many milliseconds, and a while after the last arrival at the latest. */
  constructor(
    private readonly ms: number,
    private readonly look: () => void,
  ) {}

  arrived(): void {
    if (this.#timer !== undefined) return;
    const wait = this.ms - (performance.now() - this.#looked);
    if (wait <= 0) this.#now();
    else this.#timer = setTimeout(() => this.#now(), wait);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #now(): void {
    this.#timer = undefined;
    this.#looked = performance.now();
    this.look();
  }
}
