<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

/**
 * One array of the configuration, read value by value.
 *
 * Owns the rules of reading: a missing value takes the default, a number may be written as digits
 * (as the environment gives it), and a value that cannot be meant is noted in Mistakes and replaced
 * by the default, so that reading goes on and the next mistake is found too. What the values mean is
 * left to the classes that read.
 */
final readonly class Section
{
    /** Their values stand in no message. */
    private const array HIDDEN = ['secret', 'key', 'encryption_master_key', 'password', 'sentinel_password'];

    /**
     * @param  array<array-key, mixed>  $values
     * @param  array<array-key, string>  $paths  of the values that come from another section than `$path`
     */
    public function __construct(
        private array $values,
        private string $path,
        private Mistakes $mistakes,
        private array $paths = [],
    ) {}

    /**
     * This section with `$own` in front: what `$own` has wins, and is reported under its own path.
     */
    public function under(self $own): self
    {
        $paths = array_map(static fn (int|string $key): string => $own->at((string) $key), array_keys($own->values));

        return new self(
            $own->values + $this->values,
            $this->path,
            $this->mistakes,
            array_combine(array_keys($own->values), $paths) + $this->paths,
        );
    }

    /**
     * The section below `$key`; an absent one is empty.
     */
    public function section(string $key): self
    {
        $value = $this->values[$key] ?? [];

        if (! is_array($value)) {
            $this->mistaken($key, 'an array', $value);
            $value = [];
        }

        return new self($value, $this->at($key), $this->mistakes);
    }

    /**
     * The sections in the list below `$key`.
     *
     * @return list<self>
     */
    public function sections(string $key): array
    {
        $value = $this->values[$key] ?? [];

        if (! is_array($value)) {
            $this->mistaken($key, 'a list of arrays', $value);

            return [];
        }

        $list = new self($value, $this->at($key), $this->mistakes);

        return array_values(array_map(
            static fn (int|string $position): self => $list->section((string) $position),
            array_keys($value),
        ));
    }

    /**
     * Text that is not empty. A number counts as its digits.
     */
    public function text(string $key, string $default, string $expected, string $remedy): string
    {
        $value = $this->value($key, $default);

        if (is_int($value)) {
            return (string) $value;
        }

        if (! is_string($value) || $value === '') {
            $this->mistaken($key, $expected, $this->values[$key] ?? null, $remedy);

            return $default;
        }

        return $value;
    }

    /**
     * Text, or null when it is absent or empty.
     */
    public function optionalText(string $key, string $expected): ?string
    {
        $value = $this->value($key, null);

        if ($value !== null && ! is_string($value)) {
            $this->mistaken($key, $expected, $value);

            return null;
        }

        return $value;
    }

    /**
     * True or false, or null when it is absent or empty.
     */
    public function optionalBoolean(string $key): ?bool
    {
        $value = $this->value($key, null);

        return match (true) {
            $value === null => null,
            in_array($value, [true, 1, '1', 'true'], true) => true,
            in_array($value, [false, 0, '0', 'false'], true) => false,
            default => $this->mistaken($key, 'true or false', $value),
        };
    }

    /**
     * Texts, given as an array or between commas. None when it is absent or empty.
     *
     * @param  string  $expected  what each of them is
     * @param  callable(string): bool  $accepted
     * @return list<string>
     */
    public function texts(string $key, string $expected, callable $accepted, string $remedy = ''): array
    {
        $value = $this->value($key, []);

        if (is_string($value)) {
            $value = array_map(trim(...), explode(',', $value));
        }

        if (! is_array($value)) {
            $this->mistaken($key, 'a list', $value, $remedy);

            return [];
        }

        $section = new self($value, $this->at($key), $this->mistakes);
        $texts = [];

        foreach ($value as $position => $entry) {
            if (is_string($entry) && $entry !== '' && $accepted($entry)) {
                $texts[] = $entry;
            } else {
                $section->mistaken((string) $position, $expected, $entry, $remedy);
            }
        }

        return $texts;
    }

    /**
     * Whether an array is there.
     */
    public function isArray(string $key): bool
    {
        return is_array($this->values[$key] ?? null);
    }

    /**
     * Whether nothing is there that text() could take.
     */
    public function isUnset(string $key): bool
    {
        return in_array($this->values[$key] ?? '', ['', []], true);
    }

    /**
     * Whether something is there that holds nothing.
     */
    public function isEmpty(string $key): bool
    {
        return in_array($this->values[$key] ?? null, ['', []], true);
    }

    /**
     * Texts by name. What is found instead of a text is not shown.
     *
     * @return array<string, string>
     */
    public function secretsByName(string $key, string $expected): array
    {
        $value = $this->value($key, []);

        if (! is_array($value)) {
            $this->mistaken($key, $expected, $value, secret: true);

            return [];
        }

        $section = new self($value, $this->at($key), $this->mistakes);
        $texts = [];

        foreach ($value as $name => $entry) {
            if (is_string($name) && is_string($entry)) {
                $texts[$name] = $entry;
            } else {
                $section->mistaken((string) $name, $expected, $entry, secret: true);
            }
        }

        return $texts;
    }

    /**
     * Notes every key that nobody reads: a misspelt one that is silently ignored is worse than an error.
     *
     * @param  non-empty-list<string>  $known
     */
    public function only(array $known): void
    {
        foreach (array_diff(array_map(strval(...), array_keys($this->values)), $known) as $key) {
            $this->mistakes->note($this->at($key), 'one of '.implode(', ', $known), 'an unknown key', 'correct its name or leave it out');
        }
    }

    /**
     * A whole number between the bounds.
     */
    public function integer(string $key, int $default, int $min, int $max): int
    {
        return $this->number($key, $this->value($key, $default), $min, $max) ?? $default;
    }

    /**
     * A whole number between the bounds, or null when it is absent or empty.
     */
    public function optionalInteger(string $key, int $min, int $max): ?int
    {
        $value = $this->value($key, null);

        return $value === null ? null : $this->number($key, $value, $min, $max);
    }

    /**
     * Whole numbers, given as an array or as digits between commas.
     *
     * @return list<int>
     */
    public function integers(string $key, int $min, int $max, string $remedy = ''): array
    {
        $value = $this->value($key, []);

        if (is_string($value) || is_int($value)) {
            $value = array_map(trim(...), explode(',', (string) $value));
        }

        if (! is_array($value)) {
            $this->mistaken($key, 'a list of whole numbers', $value);

            return [];
        }

        $numbers = [];

        foreach ($value as $entry) {
            $number = $this->number($key, $entry, $min, $max, $remedy);

            if ($number !== null) {
                $numbers[] = $number;
            }
        }

        return $numbers;
    }

    /**
     * An absolute path, or null when it is absent or empty.
     */
    public function optionalPath(string $key, string $expected): ?string
    {
        $path = $this->optionalText($key, $expected);

        if ($path !== null && ! str_starts_with($path, '/')) {
            $this->mistaken($key, 'an absolute path', $path, 'the server may be started in any directory', secret: false);
        }

        return $path;
    }

    /**
     * One of the choices, or null when it is absent or empty.
     *
     * @template T of string
     *
     * @param  non-empty-list<T>  $choices
     * @return T|null
     */
    public function optionalOneOf(string $key, array $choices): ?string
    {
        return $this->value($key, null) === null ? null : $this->oneOf($key, $choices[0], $choices);
    }

    /**
     * @template T of string
     *
     * @param  T  $default
     * @param  non-empty-list<T>  $choices
     * @return T
     */
    public function oneOf(string $key, string $default, array $choices): string
    {
        $value = $this->value($key, $default);

        if (! is_string($value) || ! in_array($value, $choices, true)) {
            $this->mistaken($key, 'one of '.implode(', ', $choices), $value);

            return $default;
        }

        return $value;
    }

    /**
     * Some of the choices, each once, given as an array or as words between commas.
     *
     * @template T of string
     *
     * @param  non-empty-list<T>  $choices
     * @return list<T>
     */
    public function someOf(string $key, array $choices): array
    {
        $value = $this->value($key, []);
        $expected = 'a list of '.implode(', ', $choices);

        if (is_string($value)) {
            $value = array_map(trim(...), explode(',', $value));
        }

        if (! is_array($value)) {
            $this->mistaken($key, $expected, $value);

            return [];
        }

        $some = [];

        foreach ($value as $entry) {
            if (! is_string($entry) || ! in_array($entry, $choices, true)) {
                $this->mistaken($key, $expected, $entry);
            } elseif (! in_array($entry, $some, true)) {
                $some[] = $entry;
            }
        }

        return $some;
    }

    /**
     * Whole numbers by name.
     *
     * @return array<string, int>
     */
    public function integersByName(string $key): array
    {
        $value = $this->values[$key] ?? [];

        if (! is_array($value)) {
            $this->mistaken($key, 'an array of names and whole numbers', $value);

            return [];
        }

        $section = new self($value, $this->at($key), $this->mistakes);
        $numbers = [];

        foreach ($value as $name => $entry) {
            if (! is_string($name)) {
                $section->mistaken((string) $name, 'a name for each limit', $entry);

                continue;
            }

            $number = $section->number($name, $entry, 0, PHP_INT_MAX);

            if ($number !== null) {
                $numbers[$name] = $number;
            }
        }

        return $numbers;
    }

    /**
     * Notes that `$key` holds something else than expected. Secrets are noted by kind, never by value.
     *
     * @param  ?bool  $secret  null: as its name says
     */
    public function mistaken(string $key, string $expected, mixed $found, string $remedy = '', ?bool $secret = null): null
    {
        $secret ??= in_array($key, self::HIDDEN, true);
        $hidden = $secret && is_scalar($found) && $found !== '';

        $this->mistakes->note($this->at($key), $expected, $hidden ? get_debug_type($found) : self::describe($found), $remedy);

        return null;
    }

    /**
     * Notes that the section as a whole is not as expected.
     */
    public function mistakenItself(string $expected, string $found, string $remedy): void
    {
        $this->mistakes->note($this->path, $expected, $found, $remedy);
    }

    private function value(string $key, mixed $default): mixed
    {
        $value = $this->values[$key] ?? null;

        return $value === null || $value === '' ? $default : $value;
    }

    private function number(string $key, mixed $value, int $min, int $max, string $remedy = ''): ?int
    {
        // Eighteen digits always fit; a longer run of digits would silently become PHP_INT_MAX.
        if (is_string($value) && preg_match('/\A-?\d{1,18}\z/', $value) === 1) {
            $value = (int) $value;
        }

        if (! is_int($value) || $value < $min || $value > $max) {
            $bounds = $max === PHP_INT_MAX ? "from {$min}" : "from {$min} to {$max}";
            $this->mistaken($key, "a whole number {$bounds}", $value, $remedy);

            return null;
        }

        return $value;
    }

    /**
     * Whether there is a value: neither absent nor empty text.
     */
    public function has(string $key): bool
    {
        return $this->value($key, null) !== null;
    }

    /**
     * The value as text, whatever is wrong with it.
     */
    public function peek(string $key): ?string
    {
        $value = $this->values[$key] ?? null;

        return is_string($value) || is_int($value) ? (string) $value : null;
    }

    public function at(string $key): string
    {
        return $this->paths[$key] ?? "{$this->path}.{$key}";
    }

    private static function describe(mixed $value): string
    {
        return match (true) {
            $value === null => 'nothing',
            $value === '' => 'an empty string',
            is_bool($value) => $value ? 'true' : 'false',
            is_int($value), is_float($value) => (string) $value,
            is_string($value) => '"'.(strlen($value) > 200 ? substr($value, 0, 200).'…' : $value).'"',
            default => 'a value of type '.get_debug_type($value),
        };
    }
}
