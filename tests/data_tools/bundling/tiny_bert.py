"""A tiny BERT of random weights, made on the spot."""

from pathlib import Path

WORDS = "say yes no list three fruits write a long story about the sea and an old ship"


def make_bert(directory: Path) -> Path:
    """Writes a two-layer BERT, 16-d, 64 positions, that knows a few words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    (directory / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer.from_pretrained(directory).save_pretrained(directory)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(directory)
    return directory
