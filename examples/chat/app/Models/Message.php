<?php

declare(strict_types=1);

namespace App\Models;

use Illuminate\Database\Eloquent\Concerns\HasUlids;
use Illuminate\Database\Eloquent\Model;

/**
 * @property string $id
 * @property string $author
 * @property string $text
 */
final class Message extends Model
{
    use HasUlids;

    protected $fillable = ['author', 'text'];
}
