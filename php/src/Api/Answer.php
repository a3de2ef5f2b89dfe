<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Api;

use Fanfare\Laravel\Exceptions\UnexpectedAnswer;
use JsonException;

/**
 * An object in a server's answer, read field by field: what is not what was expected is an exception,
 * never a null that surprises somebody later.
 */
final readonly class Answer
{
    /**
     * @param  array<array-key, mixed>  $fields
     * @param  string  $of  the request, for messages
     */
    private function __construct(private array $fields, private string $of) {}

    /**
     * @throws UnexpectedAnswer
     */
    public static function parse(string $json, string $of): self
    {
        try {
            $fields = json_decode($json, true, 64, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
        } catch (JsonException $e) {
            throw UnexpectedAnswer::to($of, 'a JSON object', "{$e->getMessage()} in ".UnexpectedAnswer::excerpt($json), $e);
        }

        // Only a look at the text tells an empty object from an empty list.
        if (! is_array($fields) || ! str_starts_with(ltrim($json), '{')) {
            throw UnexpectedAnswer::to($of, 'a JSON object', UnexpectedAnswer::excerpt($json));
        }

        return new self($fields, $of);
    }

    /**
     * Whether there is such a field.
     */
    public function has(string $field): bool
    {
        return array_key_exists($field, $this->fields);
    }

    /**
     * @throws UnexpectedAnswer
     */
    public function boolean(string $field): bool
    {
        $value = $this->fields[$field] ?? null;

        return is_bool($value) ? $value : throw $this->unexpected($field, 'true or false');
    }

    /**
     * @throws UnexpectedAnswer
     */
    public function integer(string $field): int
    {
        return $this->optionalInteger($field) ?? throw $this->unexpected($field, 'a whole number');
    }

    /**
     * @throws UnexpectedAnswer
     */
    public function optionalInteger(string $field): ?int
    {
        $value = $this->fields[$field] ?? null;

        return $value === null || is_int($value) ? $value : throw $this->unexpected($field, 'a whole number');
    }

    /**
     * Text; a number counts as its digits, since ids are numbers to some.
     *
     * @throws UnexpectedAnswer
     */
    public function text(string $field): string
    {
        $value = $this->fields[$field] ?? null;

        return is_string($value) || is_int($value) ? (string) $value : throw $this->unexpected($field, 'text');
    }

    /**
     * @throws UnexpectedAnswer
     */
    public function optionalText(string $field): ?string
    {
        return ($this->fields[$field] ?? null) === null ? null : $this->text($field);
    }

    /**
     * @throws UnexpectedAnswer
     */
    public function optionalObject(string $field): ?self
    {
        $value = $this->fields[$field] ?? null;

        return match (true) {
            $value === null => null,
            is_array($value) => new self($value, $this->of),
            default => throw $this->unexpected($field, 'an object or null'),
        };
    }

    /**
     * The objects in a list or an object.
     *
     * @return array<array-key, self>
     *
     * @throws UnexpectedAnswer
     */
    public function objects(string $field): array
    {
        $value = $this->fields[$field] ?? null;

        if (! is_array($value)) {
            throw $this->unexpected($field, 'objects');
        }

        return array_map(
            fn (mixed $entry): self => is_array($entry) ? new self($entry, $this->of) : throw $this->unexpected($field, 'objects'),
            $value,
        );
    }

    private function unexpected(string $field, string $expected): UnexpectedAnswer
    {
        $found = array_key_exists($field, $this->fields) ? get_debug_type($this->fields[$field]) : 'nothing';

        return UnexpectedAnswer::to($this->of, "{$expected} in its field \"{$field}\"", $found);
    }
}
