"""What an agent saw and did, as datasets of Minari for offline learning and evaluation."""
